/** A browser without a window: keeps cookies per host, and follows nobody by itself. */
export interface CookieJar {
  /** Sends what a browser would. `url` may be any of the hosts. */
  send(url: string, init?: RequestInit): Promise<Response>
  get(host: string, name: string): string | undefined
  set(host: string, name: string, value: string): void
  names(host: string): string[]
}

export function createCookieJar(): CookieJar {
  const hosts = new Map<string, Map<string, string>>()
  const of = (host: string) => hosts.get(host) ?? hosts.set(host, new Map()).get(host) ?? new Map<string, string>()
  return {
    get: (host, name) => of(host).get(name),
    set: (host, name, value) => of(host).set(name, value),
    names: (host) => [...of(host).keys()],
    send: async (url, init = {}) => {
      const { host } = new URL(url)
      const cookie = [...of(host)].map(([name, value]) => `${name}=${value}`).join('; ')
      const headers = { ...(init.headers as Record<string, string>), ...(cookie !== '' && { cookie }) }
      const response = await fetch(url, { ...init, headers, redirect: 'manual', signal: AbortSignal.timeout(20_000) })
      for (const line of response.headers.getSetCookie()) {
        const [pair = ''] = line.split(';')
        const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]
        if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) of(host).delete(name)
        else of(host).set(name, value)
      }
      return response
    },
  }
}

/**
 * Goes from `/login` to the demo's provider, presses the button of a user, and comes back: as far as the address that leads
 * back to Sluice, which is returned and not yet asked for.
 */
export async function goToProvider(jar: CookieJar, sluiceUrl: string, user: string): Promise<string> {
  let response = await jar.send(`${sluiceUrl}/login`)
  for (;;) {
    const location = response.headers.get('location')
    if (location === null) throw new Error(`${response.url} answered ${response.status}: ${await response.text()}`)
    const url = new URL(location, response.url)
    if (url.pathname === '/login/callback' || url.searchParams.has('login')) return url.href
    response = await jar.send(url.href)
    if (response.status === 200) {
      const action = `${url.pathname}?as=${user}`
      if (!(await response.text()).includes(action)) throw new Error(`there is nobody called ${user} at the provider`)
      response = await jar.send(new URL(action, url).href, { method: 'POST' })
    }
  }
}
