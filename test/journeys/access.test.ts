import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { z } from 'zod'
import { startTenants, type Asker, type Tenants } from '../helpers/tenants.ts'
import { accepted, connectApi, type Answer, type Api } from './support/api.ts'

/** The promise: whatever is revoked is without effect after this, everywhere. */
const revocationMs = 5_000

let tenants: Tenants
beforeAll(async () => {
  tenants = await startTenants({ requestLimits: { principal: { perSecond: 0.01, burst: 200 } } })
})
afterAll(() => tenants.stop())

const as = (asker: Asker): Api => connectApi(tenants.sluice.url, tenants.tokens[asker])

async function makeToken(body: Record<string, unknown> = {}): Promise<{ token: string; token_id: string }> {
  const answer = await as('operator').send('POST', '/tokens', { body: { name: 'test', ...body } })
  return z.object({ token: z.string(), token_id: z.string() }).parse(answer.body)
}

const revoke = (tokenId: string) => as('admin').send('DELETE', `/tokens/${tokenId}`)
const wsUrl = () => `${tenants.sluice.url.replace(/^http/, 'ws')}/api/v1/live`

describe('a revoked token loses what it has open within 5 s', () => {
  test('a WebSocket is closed with 4401, and does not come back', async () => {
    const { token, token_id } = await makeToken()
    const headers = { authorization: `Bearer ${token}` }
    const socket = new WebSocket(wsUrl(), { headers })
    await once(socket, 'open')
    const begin = performance.now()
    expect((await revoke(token_id)).status).toBe(204)
    const [code] = await once(socket, 'close', { signal: AbortSignal.timeout(10_000) })
    expect(code).toBe(4401)
    expect(performance.now() - begin).toBeLessThan(revocationMs)
    const [error] = await once(new WebSocket(wsUrl(), { headers }), 'error')
    expect(String(error)).toContain('401')
  })

  test('a WebSocket that was opened with a pass of the token is closed, too', async () => {
    const { token, token_id } = await makeToken()
    const { body } = await connectApi(tenants.sluice.url, token).send('POST', '/live/passes')
    const { pass } = z.object({ pass: z.string() }).parse(body)
    const socket = new WebSocket(`${wsUrl()}?pass=${pass}`)
    await once(socket, 'open')
    await revoke(token_id)
    const [code] = await once(socket, 'close', { signal: AbortSignal.timeout(revocationMs) })
    expect(code).toBe(4401)
  })

  test('one whose roles change is told to come again: what it hears depends on them', async () => {
    const binding = { principal: 'viewer', role: 'approver' }
    const socket = new WebSocket(wsUrl(), { headers: { authorization: `Bearer ${tenants.tokens.viewer}` } })
    await once(socket, 'open')
    expect((await as('admin').send('POST', '/role-bindings', { body: binding })).status).toBe(201)
    const [code] = await once(socket, 'close', { signal: AbortSignal.timeout(revocationMs) })
    expect(code).toBe(1012)
    await as('admin').send('DELETE', '/role-bindings/viewer/approver')
  })

  test('an event stream says why and ends; a long poll answers 401', async () => {
    const { token, token_id } = await makeToken()
    const mine = connectApi(tenants.sluice.url, token)
    const change = { operation: 'test.noop', input: { name: 'open' } }
    const { task_id } = accepted(await mine.send('POST', '/tasks', { body: change }))
    const stream = await fetch(`${tenants.sluice.url}/api/v1/tasks/${task_id}/events`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
      signal: AbortSignal.timeout(10_000),
    })
    const poll = mine.send('GET', `/tasks/${task_id}?wait=6`)
    const begin = performance.now()
    await revoke(token_id)
    const text = await stream.text()
    expect(performance.now() - begin).toBeLessThan(revocationMs)
    expect(text).toContain('event: task.requested')
    expect(text).toMatch(/event: error\ndata: \{"code":"unauthenticated"/)
    expect((await poll).status).toBe(401)
  })
})

describe('browser sessions', () => {
  const host = () => new URL(tenants.sluice.url).host

  async function signIn(origin: string, cookie?: string): Promise<Answer & { cookie: string }> {
    const { body } = await as('operator').send('POST', '/session/codes')
    const { code } = z.object({ code: z.string() }).parse(body)
    const headers = { origin, ...(cookie !== undefined && { cookie }) }
    const answer = await connectApi(tenants.sluice.url, '').send('POST', '/session', { body: { code }, headers })
    return { ...answer, cookie: answer.headers.get('set-cookie') ?? '' }
  }
  const send = (cookie: string, method: string, path: string, headers: Record<string, string> = {}, body?: unknown) =>
    connectApi(tenants.sluice.url, '').send(method, path, {
      headers: { cookie: cookie.split(';')[0] ?? '', ...headers },
      ...(body !== undefined && { body }),
    })
  const csrfOf = async (cookie: string) => {
    const { body } = await send(cookie, 'GET', '/me')
    return { 'sluice-csrf': z.object({ csrf_token: z.string() }).parse(body).csrf_token }
  }
  const codeOf = async (answer: Promise<Answer>) => z.object({ code: z.string() }).parse((await answer).body).code
  const documentSchema = z.object({
    paths: z.record(z.string(), z.record(z.string(), z.object({ 'x-sluice-permission': z.string().optional() }))),
  })

  test('over http: HttpOnly, SameSite=Strict; a change needs our Origin', async () => {
    const { cookie } = await signIn(`http://${host()}`)
    expect(cookie).toMatch(/^sluice_session=[\w-]{43};/)
    expect(cookie).toMatch(/HttpOnly/)
    expect(cookie).toMatch(/SameSite=Strict/)
    expect(cookie).not.toMatch(/Secure/)
    expect((await send(cookie, 'GET', '/me')).body).toMatchObject({ principal: 'operator', roles: ['operator'] })
    const csrf = await csrfOf(cookie)
    for (const headers of [{}, { origin: 'http://evil.example' }, { origin: 'null' }]) {
      const answer = await send(cookie, 'POST', '/live/passes', { ...csrf, ...headers })
      expect(answer).toMatchObject({ status: 403, body: { code: 'cross_origin' } })
    }
    expect((await send(cookie, 'POST', '/live/passes', { ...csrf, origin: `http://${host()}` })).status).toBe(200)
  })

  test('a live connection with the cookie comes from our own page', async () => {
    const cookie = (await signIn(`http://${host()}`)).cookie.split(';')[0] ?? ''
    for (const origin of [undefined, 'http://evil.example', `http://${host()}.evil.example`]) {
      const [error] = await once(new WebSocket(wsUrl(), { headers: { cookie }, ...(origin && { origin }) }), 'error')
      expect(String(error)).toContain('403')
    }
    const socket = new WebSocket(wsUrl(), { headers: { cookie }, origin: `http://${host()}` })
    await once(socket, 'open')
    socket.close()
  })

  test('a change needs the CSRF token of its own session, too', async () => {
    const origin = `http://${host()}`
    const [mine, theirs] = [await signIn(origin), await signIn(origin)]
    const right = await csrfOf(mine.cookie)
    const wrong = [
      {},
      { 'sluice-csrf': '' },
      { 'sluice-csrf': 'x'.repeat(43) },
      { 'sluice-csrf': right['sluice-csrf'].slice(0, -1) },
      // The token is not the cookie, and not another session's.
      { 'sluice-csrf': /=([^;]+)/.exec(mine.cookie)?.[1] ?? '' },
      await csrfOf(theirs.cookie),
    ]
    const body = { operation: 'test.noop', input: { name: 'forged' } }
    for (const headers of wrong) {
      const answer = await send(mine.cookie, 'POST', '/tasks', { origin, ...headers }, body)
      expect(answer).toMatchObject({ status: 403, body: { code: 'csrf_refused' } })
    }
    expect(JSON.stringify((await as('admin').send('GET', '/tasks')).body)).not.toContain('forged')
    expect((await send(mine.cookie, 'POST', '/tasks', { origin, ...right }, body)).status).toBe(202)
  })

  test('the token of a session ends with it: after the next login it is another', async () => {
    const origin = `http://${host()}`
    const first = await signIn(origin)
    const before = await csrfOf(first.cookie)
    const second = await signIn(origin, first.cookie.split(';')[0])
    expect(await csrfOf(second.cookie)).not.toEqual(before)
    expect((await send(second.cookie, 'POST', '/live/passes', { origin, ...before })).status).toBe(403)
  })

  test('every route that changes something asks for it, and none of a bearer token', async () => {
    const origin = `http://${host()}`
    const { cookie } = await signIn(origin)
    const document = await as('admin').send('GET', '/openapi.json')
    const routes = Object.entries(documentSchema.parse(document.body).paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([method, route]) => method !== 'get' && route['x-sluice-permission'] !== 'public')
        .map(([method]) => [method.toUpperCase(), path.replace('/api/v1', '').replaceAll(/[{}]/g, '')] as const),
    )
    expect(routes.length).toBeGreaterThan(50)
    const answers = await Promise.all(
      routes.map(async ([method, path]) => [method, path, await codeOf(send(cookie, method, path, { origin }, {}))]),
    )
    expect(answers).toEqual(routes.map((route) => [...route, 'csrf_refused']))
    expect((await as('operator').send('POST', '/live/passes', { headers: { cookie, origin } })).status).toBe(200)
    expect((await as('operator').send('GET', '/me')).body).toMatchObject({ csrf_token: null })
  })

  test('over https, also behind a proxy: __Host- and Secure', async () => {
    const { cookie } = await signIn(`https://${host()}`)
    expect(cookie).toMatch(/^__Host-sluice_session=[\w-]{43};/)
    expect(cookie).toMatch(/; Secure/)
    expect(cookie).toMatch(/Path=\//)
    expect(cookie).not.toMatch(/Domain/)
    expect((await send(cookie, 'GET', '/me')).status).toBe(200)
  })

  test('signing in rotates the id, signing out ends it', async () => {
    const origin = `http://${host()}`
    const first = await signIn(origin)
    const second = await signIn(origin, first.cookie.split(';')[0])
    expect(second.cookie.split(';')[0]).not.toBe(first.cookie.split(';')[0])
    expect((await send(first.cookie, 'GET', '/me')).status).toBe(401)
    const out = await send(second.cookie, 'DELETE', '/session', { origin, ...(await csrfOf(second.cookie)) })
    expect([out.status, out.body]).toEqual([200, { logout_url: null }])
    expect((await send(second.cookie, 'GET', '/me')).status).toBe(401)
  })
})

describe('request limit', () => {
  test('a principal over its limit gets 429 with Retry-After, and another one does not', async () => {
    let answer: Answer
    do {
      answer = await as('viewer').send('GET', '/me')
    } while (answer.status === 200)
    expect(answer.status).toBe(429)
    expect(answer.body).toMatchObject({ code: 'too_many_requests', retryable: true })
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await as('approver').send('GET', '/me')).status).toBe(200)
  })
})
