import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { createDatabaseIdentity } from './database-identity.ts'
import { createDevelopmentIdentity } from './development-identity.ts'
import type { Identity, Known } from './principal.ts'
import { grantRole, listRoleBindings, withdrawRole } from './role-bindings.ts'
import { createToken, listTokens, revokeToken } from './tokens.ts'

let core: Core
const started: Identity[] = []
beforeAll(async () => {
  core = await startCore()
  await grantRole(core.database, { tenant: 'acme', principal: 'ada', role: 'operator', actor: 'founder' })
  await grantRole(core.database, { tenant: 'beta', principal: 'ada', role: 'viewer', actor: 'founder' })
})
afterAll(async () => {
  await Promise.all(started.map((identity) => identity.stop()))
  await core.stop()
})

/** As one process of several has it; `cacheMs` is short, so that a test waits for nothing. */
async function startIdentity(cacheMs = 1): Promise<Identity> {
  const identity = createDatabaseIdentity({ database: core.database, logger: createMemoryLogger(), cacheMs })
  await identity.start()
  started.push(identity)
  return identity
}

const makeToken = (principal = 'ada', lifetimeMs?: number) =>
  createToken(core.database, { tenant: 'acme', actor: 'founder', principal, name: 'test', lifetimeMs })

async function known(identity: Identity, token: string): Promise<Known> {
  const found = await identity.authenticate({ kind: 'bearer', token })
  if (!found) throw new Error('the token is not known')
  return found
}

describe('API tokens', () => {
  test('a token lets its principal into its own tenant, with the roles there', async () => {
    const { token, shown } = await makeToken()
    expect(token.startsWith(shown.prefix)).toBe(true)
    expect(await known(await startIdentity(), token)).toMatchObject({
      name: 'ada',
      grants: [{ tenant: 'acme', role: 'operator' }],
    })
  })

  test('unknown, expired and revoked ones, and those of people without a role, let nobody in', async () => {
    const identity = await startIdentity()
    const revoked = await makeToken()
    await revokeToken(core.database, { tenant: 'acme', actor: 'ada', tokenId: revoked.shown.token_id })
    const tokens = ['slc_guess', (await makeToken('ada', -1)).token, (await makeToken('nobody')).token, revoked.token]
    for (const token of tokens) expect(await identity.authenticate({ kind: 'bearer', token })).toBeUndefined()
  })

  test('the database holds no token: only its hash and its first characters', async () => {
    const { token } = await makeToken()
    const { rows } = await core.database.pool.query('select row_to_json(t)::text as row from sluice.api_tokens t')
    expect(JSON.stringify(rows)).not.toContain(token)
  })

  test('a revocation reaches a process that has just let the token in within its two seconds', async () => {
    const identity = await startIdentity(2_000)
    const { token, shown } = await makeToken()
    await known(identity, token)
    const begin = performance.now()
    await revokeToken(core.database, { tenant: 'acme', actor: 'ada', tokenId: shown.token_id })
    await until(async () => (await identity.authenticate({ kind: 'bearer', token })) === undefined)
    expect(performance.now() - begin).toBeLessThan(5_000)
  })

  test('another tenant revokes nothing, nor does another owner', async () => {
    const { token, shown } = await makeToken()
    const tokenId = shown.token_id
    expect(await revokeToken(core.database, { tenant: 'beta', actor: 'eve', tokenId })).toBe(false)
    expect(await revokeToken(core.database, { tenant: 'acme', actor: 'eve', owner: 'eve', tokenId })).toBe(false)
    expect(await (await startIdentity()).authenticate({ kind: 'bearer', token })).toBeDefined()
  })

  test('many uses are one write', async () => {
    const identity = await startIdentity()
    const { token, shown } = await makeToken()
    for (let i = 0; i < 20; i++) await known(identity, token)
    await identity.stop()
    const { items } = await listTokens(core.database, { tenant: 'acme', pageSize: 200 })
    const used = items.find(({ token_id }) => token_id === shown.token_id)?.last_used_at
    expect(used).toBeTypeOf('string')
    await known(identity, token)
    await identity.stop()
    const again = await listTokens(core.database, { tenant: 'acme', pageSize: 200 })
    expect(again.items.find(({ token_id }) => token_id === shown.token_id)?.last_used_at).toBe(used)
  })

  test('what was granted, made and revoked is in the log', async () => {
    const { shown } = await makeToken()
    await revokeToken(core.database, { tenant: 'acme', actor: 'ada', tokenId: shown.token_id })
    const { rows } = await core.database.pool.query<{ type: string; actor: string }>(
      `select type, actor from sluice.domain_events where tenant_id = 'acme' and payload->>'token_id' = $1 order by seq`,
      [shown.token_id],
    )
    expect(rows).toEqual([
      { type: 'token.created', actor: 'founder' },
      { type: 'token.revoked', actor: 'ada' },
    ])
  })
})

describe('roles', () => {
  test('a role that is taken is gone in every process', async () => {
    const identity = await startIdentity()
    await grantRole(core.database, { tenant: 'acme', principal: 'bob', role: 'viewer', actor: 'founder' })
    const { token } = await makeToken('bob')
    const bob = await known(identity, token)
    await withdrawRole(core.database, { tenant: 'acme', principal: 'bob', role: 'viewer', actor: 'founder' })
    await until(async () => (await identity.refresh(bob)) === undefined)
    expect(await identity.authenticate({ kind: 'bearer', token })).toBeUndefined()
  })

  test('of two admins who take each other at once, one stays', async () => {
    const tenant = 'gamma'
    for (const principal of ['a', 'b']) {
      await grantRole(core.database, { tenant, principal, role: 'admin', actor: 'founder' })
    }
    const outcomes = await Promise.all(
      ['a', 'b'].map((principal) => withdrawRole(core.database, { tenant, principal, role: 'admin', actor: 'x' })),
    )
    expect(outcomes.toSorted((a, b) => a.localeCompare(b))).toEqual(['last_admin', 'withdrawn'])
  })
})

describe('roles of a group', () => {
  const person = (groups: readonly string[], name = 'gina') => ({ issuer: 'https://id.example', name, groups })
  const issuer = 'https://id.example'

  test('are everybody’s whom the provider names in it, and nobody else’s', async () => {
    const identity = createDatabaseIdentity({ database: core.database, logger: createMemoryLogger(), issuer })
    const group = '/Team A: ops'
    await grantRole(core.database, { tenant: 'acme', group, role: 'operator', actor: 'founder' })
    const session = await identity.openFederatedSession(person([group, 'other']))
    expect(session?.known).toMatchObject({ name: 'gina', groups: [group, 'other'], grants: [{ role: 'operator' }] })
    expect(await identity.openFederatedSession(person(['other']))).toBeUndefined()
    // A principal who is called like the group is not in it.
    expect(await identity.openFederatedSession(person([], group))).toBeUndefined()
    expect(await identity.find('acme', 'gina')).toBeUndefined()
    await withdrawRole(core.database, { tenant: 'acme', group, role: 'operator', actor: 'founder' })
    expect(await identity.openFederatedSession(person([group]))).toBeUndefined()
  })

  test('a group of admins does not make up for the last admin by name', async () => {
    const admin = { tenant: 'delta', role: 'admin', actor: 'founder' } as const
    await grantRole(core.database, { ...admin, principal: 'dora' })
    await grantRole(core.database, { ...admin, group: 'admins' })
    expect(await withdrawRole(core.database, { ...admin, principal: 'dora' })).toBe('last_admin')
    expect(await withdrawRole(core.database, { ...admin, group: 'admins' })).toBe('withdrawn')
  })

  test('bindings are listed page by page, whatever the groups are called', async () => {
    const names = ['a/b', 'ä ö', '"quoted"', 'a,b']
    for (const group of names) {
      await grantRole(core.database, { tenant: 'paged', group, role: 'viewer', actor: 'founder' })
    }
    const found: (string | null)[] = []
    for (let pageToken: string | undefined; ;) {
      const page = await listRoleBindings(core.database, { tenant: 'paged', pageSize: 1, pageToken })
      found.push(...page.items.map(({ group }) => group))
      if (page.nextPageToken === null) break
      pageToken = page.nextPageToken
    }
    expect(new Set(found)).toEqual(new Set(names))
    expect(found).toHaveLength(names.length)
    for (const pageToken of ['AAAA', 'WzFd', '']) {
      const listing = listRoleBindings(core.database, { tenant: 'paged', pageSize: 1, pageToken })
      await expect(listing).rejects.toMatchObject({ code: 'invalid_page_token' })
    }
  })
})

describe('sessions, codes and passes are shared by every process', () => {
  test('a code made by one process opens a session in a second, which a third knows after a restart', async () => {
    const [first, second] = [await startIdentity(), await startIdentity()]
    const ada = await known(first, (await makeToken()).token)
    const { secret } = await first.issueCode(ada)
    const session = await second.openSession(secret)
    expect(await first.openSession(secret)).toBeUndefined()
    await first.stop()
    await second.stop()
    const third = await startIdentity()
    expect(await third.authenticate({ kind: 'session', id: session?.id ?? '' })).toMatchObject({ name: 'ada' })
  })

  test('of many that show one code at once, one gets a session', async () => {
    const identity = await startIdentity()
    const { secret } = await identity.issueCode(await known(identity, (await makeToken()).token))
    const sessions = await Promise.all(Array.from({ length: 8 }, () => identity.openSession(secret)))
    expect(sessions.filter((session) => session !== undefined)).toHaveLength(1)
  })

  test('signing in again gives a new id and ends the old one; signing out ends the passes, too', async () => {
    const identity = await startIdentity()
    const ada = await known(identity, (await makeToken()).token)
    const open = async (previous?: string) => {
      const session = await identity.openSession((await identity.issueCode(ada)).secret, previous)
      if (!session) throw new Error('no session was opened')
      return session
    }
    const first = await open()
    const second = await open(first.id)
    expect(second.id).not.toBe(first.id)
    expect(await identity.authenticate({ kind: 'session', id: first.id })).toBeUndefined()
    const { secret: pass } = await identity.issuePass(second.known)
    const { secret: used } = await identity.issuePass(second.known)
    const live = await identity.authenticate({ kind: 'pass', pass: used })
    expect(live).toMatchObject({ name: 'ada' })
    expect(await identity.authenticate({ kind: 'pass', pass: used })).toBeUndefined()
    await identity.closeSession(second.id)
    expect(await identity.authenticate({ kind: 'pass', pass })).toBeUndefined()
    expect(live && (await identity.refresh(live))).toBeUndefined()
  })

  test('a session stands and falls with the token that it came from', async () => {
    const identity = await startIdentity()
    const { token, shown } = await makeToken()
    const session = await identity.openSession((await identity.issueCode(await known(identity, token))).secret)
    // Also when the session makes a code, and the code a session.
    const next = session && (await identity.openSession((await identity.issueCode(session.known)).secret))
    await revokeToken(core.database, { tenant: 'acme', actor: 'ada', tokenId: shown.token_id })
    for (const { id } of [session, next].filter((opened) => opened !== undefined)) {
      await until(async () => (await identity.authenticate({ kind: 'session', id })) === undefined)
    }
    expect(next).toBeDefined()
  })

  test('development principals: tokens from their file, sessions that outlive the process', async () => {
    const tokens = { requester: 'r'.repeat(43), approver: 'a'.repeat(43), admin: 'm'.repeat(43) }
    const start = async (oneTimeCode?: string) => {
      const options = { database: core.database, logger: createMemoryLogger(), tokens }
      const identity = createDevelopmentIdentity({ ...options, ...(oneTimeCode !== undefined && { oneTimeCode }) })
      await identity.start()
      started.push(identity)
      return identity
    }
    const first = await start('printed')
    expect((await known(first, tokens.admin)).grants).toEqual([{ tenant: 'default', role: 'admin' }])
    const session = await first.openSession('printed')
    await first.stop()
    const found = await (await start()).authenticate({ kind: 'session', id: session?.id ?? '' })
    expect(found).toMatchObject({ name: 'requester', grants: [{ tenant: 'default', role: 'requester' }] })
    // Without the development principals the same session is nobody's.
    expect(await (await startIdentity()).authenticate({ kind: 'session', id: session?.id ?? '' })).toBeUndefined()
  })
})
