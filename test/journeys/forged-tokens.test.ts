import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type DemoProvider, startDemoProvider } from '../../src/cli/demo/demo-provider.ts'
import WebSocket from 'ws'
import { z } from 'zod'
import { createDatabase, type Database } from '../../src/database/database.ts'
import { grantRole } from '../../src/identity/role-bindings.ts'
import { startSluice, type RunningSluice } from '../../src/main.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { noop } from '../helpers/core.ts'
import { forgeries, type Forge, makeSigningKey, signToken } from '../helpers/forged-tokens.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { connectApi, problemOf } from './support/api.ts'

let provider: DemoProvider
let database: Database
let sluice: RunningSluice
let forge: Forge
let asked: string[]
const keyServer = createServer((request, response) => {
  asked.push(request.url ?? '')
  response.end(JSON.stringify({ keys: [forge.otherRsa.publicJwk] }))
})

beforeAll(async () => {
  asked = []
  const [rsa, ec] = [await makeSigningKey('RS256', 'rsa-1'), await makeSigningKey('ES256', 'ec-1')]
  const [otherRsa, otherEc] = [await makeSigningKey('RS256', 'mine'), await makeSigningKey('ES256', 'mine-too')]
  provider = await startDemoProvider({ keys: [rsa.privateJwk, ec.privateJwk] })
  await new Promise<void>((resolve) => keyServer.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never a pipe's string.
  const keySetUrl = `http://127.0.0.1:${(keyServer.address() as AddressInfo).port}/jwks`
  forge = { issuer: provider.issuer, audience: provider.settings.audience, rsa, ec, otherRsa, otherEc, keySetUrl }

  const { url: databaseUrl } = await createTestDatabase()
  database = createDatabase({ url: databaseUrl, poolMax: 2, poolMin: 0 })
  const bind = { tenant: 'acme', actor: 'founder' }
  await grantRole(database, { ...bind, group: 'people', role: 'requester' })
  await grantRole(database, { ...bind, principal: 'adam', role: 'admin' })
  const { settings: oidc } = provider
  const logger = createMemoryLogger()
  sluice = await startSluice({ role: 'api', databaseUrl, port: 0, poolMax: 5, operations: [noop], oidc, logger })
})
afterAll(async () => {
  await sluice.stop()
  await database.stop()
  await provider.stop()
  await new Promise((resolve) => keyServer.close(resolve))
})

const change = (name: string) => ({ operation: 'test.noop', input: { name } })
const submit = (token: string, name: string) =>
  connectApi(sluice.url, '').send('POST', '/tasks', {
    body: change(name),
    headers: { authorization: `Bearer ${token}` },
  })
const written = async () => {
  const { rows } = await database.pool.query<{ events: number; tasks: number }>(
    `select (select count(*)::int from sluice.domain_events) events, (select count(*)::int from sluice.tasks) tasks`,
  )
  return rows[0]
}

describe('JWTs of the identity provider', () => {
  test.each(['RS256', 'ES256'] as const)(
    'a genuine one (%s) lets its principal in, with the roles of its groups',
    async (alg) => {
      const token = await signToken(forge, {}, {}, alg === 'RS256' ? forge.rsa : forge.ec)
      expect((await submit(token, `genuine-${alg}`)).status).toBe(202)
      const me = await connectApi(sluice.url, token).send('GET', '/me')
      expect(me.body).toMatchObject({ principal: 'rita', tenant: 'acme', roles: ['requester'] })
    },
  )

  test('one that the provider itself has made for a program, too', async () => {
    await grantRole(database, { tenant: 'acme', principal: provider.machine.id, role: 'viewer', actor: 'founder' })
    const { id, secret } = provider.machine
    const answer = await fetch(`${provider.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource: forge.audience }),
    })
    const { access_token: token } = (await answer.json()) as { access_token: string }
    const me = await connectApi(sluice.url, token).send('GET', '/me')
    expect(me.body).toMatchObject({ principal: 'demo-machine', roles: ['viewer'] })
  })

  test('clocks may differ by half a minute', async () => {
    const seconds = Math.floor(Date.now() / 1_000)
    for (const claims of [{ exp: seconds - 10 }, { nbf: seconds + 10 }, { iat: seconds + 10 }]) {
      expect((await connectApi(sluice.url, await signToken(forge, claims)).send('GET', '/me')).status).toBe(200)
    }
  })

  test('types are those of RFC 9068, and of providers that are older', async () => {
    for (const typ of ['at+jwt', 'application/at+jwt', 'AT+JWT', 'JWT', undefined]) {
      expect((await connectApi(sluice.url, await signToken(forge, {}, { typ })).send('GET', '/me')).status).toBe(200)
    }
  })
})

describe('a JWT that ends', () => {
  test('takes along what was opened with it, or with a pass that it made', { timeout: 20_000 }, async () => {
    // Within the skew for three seconds more.
    const token = await signToken(forge, { exp: Math.floor(Date.now() / 1_000) - 27 })
    const authorization = `Bearer ${token}`
    const passes = await connectApi(sluice.url, token).send('POST', '/live/passes')
    const { pass } = z.object({ pass: z.string() }).parse(passes.body)
    const live = `${sluice.url.replace('http', 'ws')}/api/v1/live`
    const sockets = [new WebSocket(live, { headers: { authorization } }), new WebSocket(`${live}?pass=${pass}`)]
    const closed = sockets.map((socket) => once(socket, 'close', { signal: AbortSignal.timeout(15_000) }))
    await Promise.all(sockets.map((socket) => once(socket, 'open')))
    expect((await Promise.all(closed)).map(([code]) => Number(code))).toEqual([4401, 4401])
    expect((await connectApi(sluice.url, token).send('GET', '/me')).status).toBe(401)
  })
})

describe('forged JWTs', () => {
  test('there are more than forty ways', () => {
    expect(Object.keys(forgeries).length).toBeGreaterThanOrEqual(60)
  })

  test.each(Object.keys(forgeries))('%s: 401, and nothing is done', async (name) => {
    const forged = (await forgeries[name]?.(forge)) ?? ''
    const before = await written()
    const answer = await submit(forged, `forged-${name}`)
    expect([answer.status, problemOf(answer).code]).toEqual([401, 'unauthenticated'])
    expect(await written()).toEqual(before)
  })

  test('nobody has asked for a key where a token said that there is one', () => {
    expect(asked).toEqual([])
  })
})
