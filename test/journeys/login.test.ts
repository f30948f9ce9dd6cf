import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { z } from 'zod'
import { type DemoProvider, startDemoProvider } from '../../src/cli/demo/demo-provider.ts'
import { createDatabase, type Database } from '../../src/database/database.ts'
import type { OidcSettings } from '../../src/identity/oidc/oidc-settings.ts'
import { grantRole, withdrawRole } from '../../src/identity/role-bindings.ts'
import { startSluice, type RunningSluice, type StartOptions } from '../../src/main.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { noop } from '../helpers/core.ts'
import { createCookieJar, goToProvider, type CookieJar } from '../helpers/sign-in.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { until } from '../helpers/until.ts'

let provider: DemoProvider
let database: Database
let databaseUrl: string
let sluice: RunningSluice
let jar: CookieJar
const stops: (() => Promise<void>)[] = []

async function start(oidc: OidcSettings | undefined, more: Partial<StartOptions> = {}): Promise<RunningSluice> {
  const logger = createMemoryLogger()
  const base = { role: 'api', databaseUrl, port: 0, poolMax: 5, operations: [noop], logger } as const
  return startSluice({ ...base, ...(oidc && { oidc }), ...more })
}

beforeAll(async () => {
  // Another site than Sluice's, as a browser and its cookies see it.
  provider = await startDemoProvider({ host: 'localhost', callbacks: ['https://sluice.example/login/callback'] })
  databaseUrl = (await createTestDatabase()).url
  sluice = await start(provider.settings)
  database = createDatabase({ url: databaseUrl, poolMax: 2, poolMin: 0 })
  const bind = { actor: 'founder', tenant: 'acme' }
  await grantRole(database, { ...bind, group: 'demo-requesters', role: 'requester' })
  await grantRole(database, { ...bind, group: 'demo-approvers', role: 'approver' })
  await grantRole(database, { ...bind, tenant: 'beta', group: 'demo-approvers', role: 'viewer' })
})
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})
afterAll(async () => {
  await sluice.stop()
  await database.stop()
  await provider.stop()
})

const cookieName = 'sluice_session'
const host = (url = sluice.url) => new URL(url).host

/** All the way: returns what the way back answered. */
async function signIn(user: string, url = sluice.url): Promise<Response> {
  return jar.send(await goToProvider(jar, url, user))
}
const me = async (url = sluice.url) => {
  const response = await jar.send(`${url}/api/v1/me`)
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
/** What a change of the console's carries. */
const own = async () => {
  const answer = await jar.send(`${sluice.url}/api/v1/me`, { headers: { 'sluice-tenant': 'acme' } })
  const { csrf_token: token } = z.object({ csrf_token: z.string() }).parse(await answer.json())
  return { origin: sluice.url, 'sluice-csrf': token }
}
const location = (response: Response) => response.headers.get('location')

describe('signing in at the identity provider', () => {
  test('opens a session with the roles of the groups that the provider names', async () => {
    jar = createCookieJar()
    const answer = await signIn('rita')
    expect([answer.status, location(answer)]).toEqual([302, '/'])
    expect(answer.headers.getSetCookie().join('\n')).toMatch(
      /^sluice_session=[\w-]{43};(?=.*HttpOnly)(?=.*SameSite=Strict)(?!.*Secure)/m,
    )
    expect((await me()).body).toMatchObject({ principal: 'rita', tenant: 'acme', roles: ['requester'] })
    expect(jar.names(host())).toEqual([cookieName])
  })

  test('the session is written into the log of its tenant', async () => {
    const { rows } = await database.pool.query(
      `select actor, payload->'source'->>'via' as via from sluice.domain_events where type = 'session.opened' and tenant_id = 'acme'`,
    )
    expect(rows).toContainEqual({ actor: 'rita', via: 'session' })
  })

  test('behind https the cookies are __Host- and Secure, and the address to come back to is the public one', async () => {
    const secure = await start(provider.settings, { publicUrl: 'https://sluice.example' })
    stops.push(() => secure.stop())
    jar = createCookieJar()
    const begun = await jar.send(`${secure.url}/login`)
    expect(begun.headers.getSetCookie().join('\n')).toMatch(
      /^__Host-sluice_login=[\w-]+;(?=.*Path=\/;)(?=.*HttpOnly)(?=.*Secure)(?=.*SameSite=Lax)(?!.*Domain)/m,
    )
    const back = new URL(await goToProvider(jar, secure.url, 'rita'))
    expect(back.origin).toBe('https://sluice.example')
    const answer = await jar.send(`${secure.url}${back.pathname}${back.search}`)
    expect(answer.headers.getSetCookie().join('\n')).toMatch(
      /^__Host-sluice_session=[\w-]{43};(?=.*Path=\/;)(?=.*HttpOnly)(?=.*Secure)(?=.*SameSite=Strict)(?!.*Domain)/m,
    )
    expect((await me(secure.url)).status).toBe(200)
  })

  test('the request has PKCE, state and nonce, new ones each time', async () => {
    const ask = async () => new URL(location(await createCookieJar().send(`${sluice.url}/login`)) ?? '').searchParams
    const [first, second] = [await ask(), await ask()]
    expect(Object.fromEntries(first)).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      redirect_uri: `${sluice.url}/login/callback`,
    })
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(first.get(name)).toMatch(/^[\w-]{43}$/)
      expect(first.get(name)).not.toBe(second.get(name))
    }
  })

  test('signing in again rotates the session and ends the one before', async () => {
    jar = createCookieJar()
    await signIn('rita')
    const before = jar.get(host(), cookieName) ?? ''
    await signIn('anna')
    expect(jar.get(host(), cookieName)).not.toBe(before)
    const old = createCookieJar()
    old.set(host(), cookieName, before)
    await until(async () => (await old.send(`${sluice.url}/api/v1/me`)).status === 401)
  })

  test('signing out ends the session here, and says where the one at the provider ends', async () => {
    jar = createCookieJar()
    await signIn('rita')
    const answer = await jar.send(`${sluice.url}/api/v1/session`, { method: 'DELETE', headers: await own() })
    const { logout_url: logoutUrl } = z.object({ logout_url: z.string() }).parse(await answer.json())
    expect((await me()).status).toBe(401)
    const page = await jar.send(logoutUrl)
    const form = /name="xsrf" value="(\w+)"/.exec(await page.text())?.[1] ?? ''
    const out = await jar.send(`${provider.issuer}/session/end/confirm`, {
      method: 'POST',
      body: new URLSearchParams({ xsrf: form, logout: 'yes' }),
    })
    expect(location(out)).toBe(`${sluice.url}/`)
  })
})

describe('a login that proves nothing opens no session', () => {
  const refused = async (address: string) => {
    const answer = await jar.send(address)
    expect(jar.get(host(), cookieName)).toBeUndefined()
    return location(answer)
  }

  test('another state', async () => {
    jar = createCookieJar()
    const back = new URL(await goToProvider(jar, sluice.url, 'rita'))
    back.searchParams.set('state', 'x'.repeat(43))
    expect(await refused(back.href)).toBe('/?login=failed')
  })

  test('no state', async () => {
    jar = createCookieJar()
    const back = new URL(await goToProvider(jar, sluice.url, 'rita'))
    back.searchParams.delete('state')
    expect(await refused(back.href)).toBe('/?login=failed')
  })

  test('another browser’s answer, with no login of this one under way', async () => {
    jar = createCookieJar()
    const back = await goToProvider(jar, sluice.url, 'anna')
    jar = createCookieJar()
    expect(await refused(back)).toBe('/?login=stale')
  })

  test('another browser’s answer, in the middle of this one’s login', async () => {
    jar = createCookieJar()
    const theirs = await goToProvider(jar, sluice.url, 'anna')
    jar = createCookieJar()
    await goToProvider(jar, sluice.url, 'rita')
    expect(await refused(theirs)).toBe('/?login=failed')
  })

  test('another browser’s code under this one’s state: the verifier does not fit', async () => {
    jar = createCookieJar()
    const theirs = new URL(await goToProvider(jar, sluice.url, 'anna'))
    jar = createCookieJar()
    const mine = new URL(await goToProvider(jar, sluice.url, 'rita'))
    mine.searchParams.set('code', theirs.searchParams.get('code') ?? '')
    expect(await refused(mine.href)).toBe('/?login=failed')
  })

  test('the same answer a second time', async () => {
    jar = createCookieJar()
    const back = await goToProvider(jar, sluice.url, 'rita')
    const pending = jar.get(host(), 'sluice_login') ?? ''
    expect(location(await jar.send(back))).toBe('/')
    jar = createCookieJar()
    expect(await refused(back)).toBe('/?login=stale')
    jar.set(host(), 'sluice_login', pending)
    expect(await refused(back)).toBe('/?login=failed')
  })

  test('a cookie that is none of ours', async () => {
    jar = createCookieJar()
    const back = await goToProvider(jar, sluice.url, 'rita')
    jar.set(host(), 'sluice_login', 'bm90IGpzb24')
    expect(await refused(back)).toBe('/?login=stale')
  })

  test('another nonce: the ID token was made for another login', async () => {
    jar = createCookieJar()
    const back = await goToProvider(jar, sluice.url, 'rita')
    const pending: object = JSON.parse(Buffer.from(jar.get(host(), 'sluice_login') ?? '', 'base64url').toString())
    const forged = Buffer.from(JSON.stringify({ ...pending, nonce: 'x'.repeat(43) })).toString('base64url')
    jar.set(host(), 'sluice_login', forged)
    expect(await refused(back)).toBe('/?login=failed')
  })

  test('the provider, or its person, says no', async () => {
    jar = createCookieJar()
    const back = new URL(await goToProvider(jar, sluice.url, 'rita'))
    back.searchParams.delete('code')
    back.searchParams.set('error', 'access_denied')
    expect(await refused(back.href)).toBe('/?login=denied')
  })

  test('whom the provider knows, and who has no role', async () => {
    jar = createCookieJar()
    expect(await refused(await goToProvider(jar, sluice.url, 'vera'))).toBe('/?login=no_role')
    const { rows } = await database.pool.query(`select from sluice.sessions where principal = 'vera'`)
    expect(rows).toEqual([])
  })
})

describe('what the provider has said holds for as long as its word', () => {
  test('a role that is taken from the group is gone within 5 s, also where a connection is open', async () => {
    jar = createCookieJar()
    await grantRole(database, { tenant: 'acme', group: 'demo-operators', role: 'operator', actor: 'founder' })
    await signIn('otto')
    const cookie = `${cookieName}=${jar.get(host(), cookieName)}`
    const socket = new WebSocket(`${sluice.url.replace('http', 'ws')}/api/v1/live`, {
      headers: { cookie, origin: sluice.url },
    })
    await once(socket, 'open')
    const begin = performance.now()
    await withdrawRole(database, { tenant: 'acme', group: 'demo-operators', role: 'operator', actor: 'founder' })
    const [code] = await once(socket, 'close', { signal: AbortSignal.timeout(10_000) })
    expect(code).toBe(4401)
    expect(performance.now() - begin).toBeLessThan(5_000)
    expect((await me()).status).toBe(401)
  })

  test('where another provider is trusted, or none, its sessions are nobody’s', async () => {
    jar = createCookieJar()
    await signIn('rita')
    const cookie = jar.get(host(), cookieName) ?? ''
    const elsewhere = await startDemoProvider()
    stops.push(() => elsewhere.stop())
    for (const oidc of [elsewhere.settings, undefined]) {
      const changed = await start(oidc)
      stops.push(() => changed.stop())
      jar.set(host(changed.url), cookieName, cookie)
      expect((await me(changed.url)).status).toBe(401)
    }
    expect((await me()).status).toBe(200)
  })

  test('a link into the console opens a session for the same principal and groups', async () => {
    jar = createCookieJar()
    await signIn('anna')
    const made = await jar.send(`${sluice.url}/api/v1/session/codes`, {
      method: 'POST',
      headers: { ...(await own()), 'sluice-tenant': 'acme' },
    })
    const { code } = z.object({ code: z.string() }).parse(await made.json())
    jar = createCookieJar()
    const opened = await jar.send(`${sluice.url}/api/v1/session`, {
      method: 'POST',
      headers: { origin: sluice.url, 'content-type': 'application/json' },
      body: JSON.stringify({ code }),
    })
    expect(await opened.json()).toMatchObject({ principal: 'anna', tenants: ['acme', 'beta'] })
    const { rows } = await database.pool.query<{ principal: string; groups: string[] }>(
      `select principal, groups from sluice.sessions order by created_at desc limit 1`,
    )
    expect(rows).toEqual([{ principal: 'anna', groups: ['demo-approvers'] }])
  })

  test('groups reach no further than the login: no token and no schedule has them', async () => {
    jar = createCookieJar()
    await signIn('rita')
    const answer = await jar.send(`${sluice.url}/api/v1/tokens`, {
      method: 'POST',
      headers: { ...(await own()), 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'mine' }),
    })
    expect(answer.status).toBe(422)
    expect(await answer.json()).toMatchObject({ detail: expect.stringMatching(/^rita has no role by that name here/) })
    await grantRole(database, { tenant: 'acme', principal: 'rita', role: 'viewer', actor: 'founder' })
  })
})

describe('claims of the provider, as they are configured', () => {
  const using = async (more: Partial<OidcSettings>) => {
    const changed = await start({ ...provider.settings, ...more })
    stops.push(() => changed.stop())
    jar = createCookieJar()
    await signIn('anna', changed.url)
    return me(changed.url)
  }

  test('in which tenants a principal may act: roles elsewhere count for nothing', async () => {
    expect((await using({})).status).toBe(400)
    // Of the demo's claims any may say it: her name is no tenant's.
    expect((await using({ tenantClaim: 'preferred_username' })).status).toBe(401)
    await grantRole(database, { tenant: 'anna', group: 'demo-approvers', role: 'viewer', actor: 'founder' })
    expect((await using({ tenantClaim: 'preferred_username' })).body).toMatchObject({
      tenant: 'anna',
      tenants: ['anna'],
    })
  })

  test('a prefix keeps its principals apart from others of the same name', async () => {
    const { body } = await using({ principalPrefix: 'sso.', tenantClaim: 'preferred_username' })
    expect(body).toMatchObject({ principal: 'sso.anna', roles: ['viewer'] })
  })

  test('an e-mail that nobody has verified is no name', async () => {
    expect((await using({ principalClaim: 'email' })).status).toBe(401)
  })
})

describe('a provider that is away', () => {
  test('is told to who signs in; Sluice starts and serves without it, and lets people in when it is back', async () => {
    const first = await startDemoProvider()
    const port = Number(new URL(first.issuer).port)
    await first.stop()
    const lonely = await start(first.settings)
    stops.push(() => lonely.stop())
    jar = createCookieJar()
    expect(location(await jar.send(`${lonely.url}/login`))).toBe('/?login=unreachable')
    const token = 'eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA'
    const asked = await fetch(`${lonely.url}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } })
    expect([asked.status, asked.headers.get('retry-after')]).toEqual([503, '2'])
    expect(await asked.json()).toMatchObject({ code: 'identity_provider_unreachable', retryable: true })
    const back = await startDemoProvider({ port })
    stops.push(() => back.stop())
    await until(async () => location(await jar.send(`${lonely.url}/login`))?.startsWith(back.issuer) === true)
  })
})
