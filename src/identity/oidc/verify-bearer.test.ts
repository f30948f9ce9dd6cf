import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWK } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Forge, makeSigningKey, type SigningKey, signToken } from '../../../test/helpers/forged-tokens.ts'
import type { Cache } from '../../platform/cache.ts'
import { createMemoryCache } from '../../platform/memory/memory-cache.ts'
import { createMemoryLogger } from '../../platform/memory/memory-logger.ts'
import { ServiceUnavailableError } from '../../platform/platform-error.ts'
import { connectProvider } from './provider.ts'
import { createBearerVerifier } from './verify-bearer.ts'

const audience = 'https://sluice.dev/api'

/** What a provider publishes, and how often it was asked: its discovery document and its keys. */
let published: JWK[]
let asked: { discovery: number; keys: number }
let answers: boolean
let server: Server
let forge: Forge
let first: SigningKey
let second: SigningKey
let cache: Cache

beforeEach(async () => {
  first = await makeSigningKey('RS256', 'first')
  second = await makeSigningKey('RS256', 'second')
  published = [first.publicJwk]
  asked = { discovery: 0, keys: 0 }
  answers = true
  cache = createMemoryCache()
  server = createServer((request, response) => {
    const isKeys = request.url === '/jwks'
    if (isKeys) asked.keys++
    else asked.discovery++
    if (!answers) response.writeHead(503).end()
    else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify(isKeys ? { keys: published } : document()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A TCP server's address is never a pipe's string.
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const unused = first
  forge = { issuer, audience, rsa: first, ec: unused, otherRsa: unused, otherEc: unused, keySetUrl: '' }
})
afterEach(() => new Promise((resolve) => server.close(resolve)))

const document = () => ({
  issuer: forge.issuer,
  jwks_uri: `${forge.issuer}/jwks`,
  authorization_endpoint: `${forge.issuer}/auth`,
  token_endpoint: `${forge.issuer}/token`,
})
const verifier = (cooldownMs?: number) => {
  const settings = { issuer: forge.issuer, audience }
  const options = { settings, provider: connectProvider(settings), cache, logger: createMemoryLogger() }
  return createBearerVerifier({ ...options, ...(cooldownMs !== undefined && { cooldownMs }) })
}
const by = (key: SigningKey, claims = {}) => signToken(forge, claims, {}, key)

describe('the keys of the provider', () => {
  test('are read once for many tokens', async () => {
    const verify = verifier()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => by(first, { sub: `p${i}` })))
    const found = await Promise.all(tokens.map(verify))
    expect(found.map((one) => one?.person.name)).toEqual(Array.from({ length: 20 }, (_, i) => `p${i}`))
    expect(asked).toEqual({ discovery: 1, keys: 1 })
  })

  test('an unknown one has them read once more, and then not for a while', async () => {
    const verify = verifier(60_000)
    expect(await verify(await by(first))).toBeDefined()
    for (let i = 0; i < 20; i++) expect(await verify(await by(second, { sub: `p${i}` }))).toBeUndefined()
    expect(asked.keys).toBe(1)
  })

  test('a new one is found as soon as that while is over', async () => {
    const verify = verifier(0)
    expect(await verify(await by(first))).toBeDefined()
    expect(await verify(await by(second))).toBeUndefined()
    published = [first.publicJwk, second.publicJwk]
    expect(await verify(await by(second))).toMatchObject({ person: { name: 'rita', issuer: forge.issuer } })
    expect(asked.keys).toBe(3)
  })

  test('one that is published no more is believed no more, once they were read again', async () => {
    const verify = verifier(0)
    await verify(await by(first))
    published = [second.publicJwk]
    await verify(await by(second))
    expect(await verify(await by(first))).toBeUndefined()
  })

  test('are in the cache for a process that starts later', async () => {
    expect(await verifier()(await by(first))).toBeDefined()
    await expect.poll(() => cache.exists(`jwks:${forge.issuer}/jwks`)).toBe(true)
    expect(await verifier()(await by(first))).toMatchObject({ person: { name: 'rita' } })
    expect(asked).toEqual({ discovery: 2, keys: 1 })
  })

  test('of the cache are read again for an unknown one, and replaced', async () => {
    await verifier()(await by(first))
    published = [second.publicJwk]
    await expect.poll(() => cache.exists(`jwks:${forge.issuer}/jwks`)).toBe(true)
    expect(await verifier(0)(await by(second))).toBeDefined()
    await expect
      .poll(async () => (await cache.get<{ jwks: unknown }>(`jwks:${forge.issuer}/jwks`))?.jwks)
      .toEqual({ keys: [second.publicJwk] })
    expect(await verifier()(await by(first))).toBeUndefined()
    expect(asked.keys).toBe(2)
  })

  test.each([
    ['too old', () => ({ uat: Date.now() - 600_001, jwks: { keys: [second.publicJwk] } })],
    ['of a time to come', () => ({ uat: Date.now() + 60_000, jwks: { keys: [second.publicJwk] } })],
    ['no keys', () => ({ uat: Date.now(), jwks: 'x' })],
    ['nothing known', () => 'x'],
  ])('what the cache holds is not used when it is %s', async (_, kept) => {
    await cache.set(`jwks:${forge.issuer}/jwks`, kept(), { ttlMs: 60_000 })
    const verify = verifier()
    expect(await verify(await by(second))).toBeUndefined()
    expect(await verify(await by(first))).toBeDefined()
    expect(asked.keys).toBe(1)
  })

  test('are asked for as ever when the cache is away', async () => {
    const away = () => Promise.reject(new ServiceUnavailableError('cache', 'is away'))
    cache = { ...cache, get: away, set: away }
    const verify = verifier()
    for (let i = 0; i < 3; i++) expect(await verify(await by(first))).toBeDefined()
    expect(asked.keys).toBe(1)
  })

  test('a provider that is away is asked once in a while, however many tokens come', async () => {
    answers = false
    const verify = verifier()
    for (let i = 0; i < 20; i++) {
      await expect(verify(await by(first, { sub: `p${i}` }))).rejects.toMatchObject({
        code: 'identity_provider_unreachable',
      })
    }
    expect(asked).toEqual({ discovery: 1, keys: 0 })
  })

  test('keys that cannot be read are asked for once in a while, too', async () => {
    const verify = verifier()
    const provider = await by(first)
    published = 'none' as unknown as JWK[]
    for (let i = 0; i < 20; i++) {
      await expect(verify(provider)).rejects.toMatchObject({ code: 'identity_provider_unreachable' })
    }
    expect(asked).toEqual({ discovery: 1, keys: 1 })
  })

  test('what is no JWT is refused without asking anybody', async () => {
    const verify = verifier()
    for (const token of ['slc_guess', 'a.b', 'eyJhbGciOiJub25lIn0.e30.AA']) expect(await verify(token)).toBeUndefined()
    expect(asked).toEqual({ discovery: 0, keys: 0 })
  })
})
