import { sql } from 'kysely'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { appendNote } from '../database/append-note.sql.ts'
import { createDatabase, type Database } from '../database/database.ts'
import type { ChainPlace } from './chain-walk.ts'
import { sealEvents } from './seal.ts'
import { verifyAudit } from './verify.ts'

let database: Database
beforeEach(async () => {
  const { url } = await createTestDatabase()
  database = createDatabase({ url, poolMax: 5, poolMin: 0 })
  for (let i = 1; i <= 30; i++) await write(i % 3 === 0 ? 'other' : 'acme', i)
  await sealEvents({ database, roundSize: 7 })
})
afterEach(() => database.stop())

const write = (tenant: string, n: number) =>
  database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    appendNote(tx, { type: 'test.noted', actor: 'anna', data: { n } }),
  )

/** As the owner of the tables, whom no grant and no trigger stops. */
async function tamper(...statements: string[]): Promise<void> {
  const client = await database.pool.connect()
  try {
    await client.query("set session_replication_role = 'replica'")
    for (const statement of statements) {
      const { rowCount } = await client.query(statement)
      if (rowCount === 0) throw new Error(`nothing was tampered with: ${statement}`)
    }
  } finally {
    await client.query('reset session_replication_role')
    client.release()
  }
}

/** The number of the event at a position of acme's chain. */
async function seqAt(position: number): Promise<string> {
  const { rows } = await database.pool.query<{ seq: string }>(
    `select s.seq from (select seq, row_number() over (order by seq) as n from sluice.domain_events where tenant_id = 'acme') s
     where n = $1`,
    [position],
  )
  return rows[0]?.seq ?? ''
}

const verify = (heads?: ReadonlyMap<string, readonly ChainPlace[]>) =>
  verifyAudit({ database, ...(heads && { heads }) })
const found = async (heads?: ReadonlyMap<string, readonly ChainPlace[]>) =>
  (await verify(heads)).findings.map(({ kind, tenant, position, seq }) => ({ kind, tenant, position, seq }))
const events = (where: string) => `sluice.domain_events where ${where}`

describe('an untouched log', () => {
  test('is what was sealed: every event, each tenant by itself and all together', async () => {
    const all = await verify()
    expect([all.events, all.findings, all.next, all.tail.events]).toEqual([30, [], undefined, 0])
    expect([...all.places].map(([tenant, { position }]) => [tenant, position])).toEqual([
      ['acme', 20],
      ['other', 10],
    ])
    const own = await verifyAudit({ database, tenant: 'acme' })
    expect([own.events, own.findings]).toEqual([20, []])
    expect(own.places.get('acme')).toEqual(all.places.get('acme'))
  })

  test('goes on: what comes later is chained to what was there', async () => {
    const before = await verify()
    await write('acme', 31)
    expect((await verify()).tail.events).toBe(1)
    await sealEvents({ database })
    const after = await verify(new Map([...before.places].map(([tenant, place]) => [tenant, [place]])))
    expect([after.events, after.findings, after.places.get('acme')?.position]).toEqual([31, [], 21])
  })

  test('is verified in pieces as in one go', async () => {
    let from: Awaited<ReturnType<typeof verify>>['next']
    let pieces = 0
    let last: Awaited<ReturnType<typeof verify>>
    do {
      last = await verifyAudit({ database, from, budgetMs: 0 })
      expect(last.findings).toEqual([])
      from = last.next
      pieces++
    } while (from)
    expect(pieces).toBeGreaterThan(1)
    expect(last.places).toEqual((await verify()).places)
  })
})

describe('tampering by the owner of the database is found, and where', () => {
  test.each([
    ['actor', `'eve'`],
    ['type', `'test.other'`],
    ['payload', `payload || '{"n": 99}'`],
    ['operation', `'vm.delete'`],
    ['target', `'default:v1/Pod//x'`],
    ['task_id', 'gen_random_uuid()'],
    ['event_id', 'gen_random_uuid()'],
    ['at', `at + interval '1 microsecond'`],
  ])('an edited %s', async (column, value) => {
    const seq = await seqAt(5)
    await tamper(`update sluice.domain_events set ${column} = ${value} where seq = ${seq}`)
    expect(await found()).toEqual([{ kind: 'changed', tenant: 'acme', position: 5, seq }])
  })

  test('an edited tenant: gone from one, and put into another', async () => {
    const seq = await seqAt(5)
    await tamper(`update sluice.domain_events set tenant_id = 'other' where seq = ${seq}`)
    expect(await found()).toEqual([
      { kind: 'deleted', tenant: 'acme', position: 5, seq },
      { kind: 'inserted', tenant: 'other', position: null, seq },
    ])
    // Each tenant sees its own half.
    expect((await verifyAudit({ database, tenant: 'acme' })).findings).toMatchObject([{ kind: 'deleted' }])
    expect((await verifyAudit({ database, tenant: 'other' })).findings).toMatchObject([{ kind: 'inserted' }])
  })

  test('a deletion', async () => {
    const seq = await seqAt(9)
    await tamper(`delete from ${events(`seq = ${seq}`)}`)
    expect(await found()).toEqual([{ kind: 'deleted', tenant: 'acme', position: 9, seq }])
  })

  test('a reorder: two events that changed places', async () => {
    const [one, two] = [await seqAt(3), await seqAt(4)]
    await tamper(`update sluice.domain_events set seq = case seq when ${one} then ${two} else ${one} end
      where seq in (${one}, ${two})`)
    expect(await found()).toEqual([
      { kind: 'changed', tenant: 'acme', position: 3, seq: one },
      { kind: 'changed', tenant: 'acme', position: 4, seq: two },
    ])
  })

  test('an insertion among what was sealed', async () => {
    const gap = await seqAt(8)
    await tamper(
      `delete from ${events(`seq = ${gap}`)}`,
      `insert into sluice.domain_events (seq, tenant_id, type, actor) values (${gap}, 'acme', 'test.noted', 'eve')`,
      `insert into sluice.domain_events (seq, tenant_id, type, actor) values (1, 'acme', 'test.noted', 'eve')`,
    )
    expect(await found()).toEqual([
      { kind: 'changed', tenant: 'acme', position: 8, seq: gap },
      { kind: 'inserted', tenant: 'acme', position: null, seq: '1' },
    ])
  })

  test('a cut tail', async () => {
    const seqs = [await seqAt(19), await seqAt(20)]
    await tamper(`delete from ${events(`tenant_id = 'acme' and seq >= ${seqs[0]}`)}`)
    expect(await found()).toEqual(seqs.map((seq, i) => ({ kind: 'deleted', tenant: 'acme', position: 19 + i, seq })))
  })

  test('a cut tail with its seals, by a head that was kept elsewhere', async () => {
    const { places } = await verify()
    const heads = new Map([['acme', [places.get('acme') ?? { position: 0, hash: '' }]]])
    const from = await database.pool.query<{ position: string }>(
      `select max(position) as position from sluice.audit_seals where tenant_id = 'acme'`,
    )
    const cut = Number(from.rows[0]?.position)
    await tamper(
      `delete from ${events(`tenant_id = 'acme' and seq >= ${await seqAt(cut)}`)}`,
      `delete from sluice.audit_seals where tenant_id = 'acme' and position = ${cut}`,
    )
    // Nothing in the database itself tells of it any more.
    expect(await found()).toEqual([])
    expect(await found(heads)).toEqual([{ kind: 'cut', tenant: 'acme', position: cut, seq: null }])
    // Also when the chain has grown beyond the head since.
    for (let i = 0; i < 10; i++) await write('acme', i)
    await sealEvents({ database })
    expect(await found(heads)).toEqual([{ kind: 'head_differs', tenant: 'acme', position: 20, seq: null }])
  })

  test('an edited seal: its hash, its numbers, its length', async () => {
    const seal = `sluice.audit_seals set`
    const where = `where tenant_id = 'acme' and position = 1`
    const restore = await database.pool.query<{ seqs: string; links: string; events: number }>(
      `select seqs::text, encode(links, 'hex') as links, events from sluice.audit_seals ${where}`,
    )
    const [was] = restore.rows
    const reset = () =>
      tamper(
        `update ${seal} seqs = '${was?.seqs}', links = decode('${was?.links}', 'hex'), events = ${was?.events} ${where}`,
      )

    await tamper(`update ${seal} links = set_byte(links, 40, (get_byte(links, 40) + 1) % 256) ${where}`)
    // The second link: what it seals does not fit it, and neither does what is chained to it.
    expect(await found()).toMatchObject([
      { kind: 'changed', position: 2 },
      { kind: 'changed', position: 3 },
    ])
    await reset()
    await tamper(`update ${seal} seqs[2] = seqs[2] + 1000000 ${where}`)
    expect(await found()).toMatchObject([
      { kind: 'deleted', position: 2 },
      { kind: 'inserted', seq: await seqAt(2) },
    ])
    await reset()
    await tamper(`update ${seal} events = events - 1 ${where}`)
    expect((await found())[0]).toMatchObject({ kind: 'seal_unreadable', position: 1 })
    await reset()
    expect(await found()).toEqual([])
  })

  test('a seal that was removed, and one that was moved', async () => {
    const { rows } = await database.pool.query<{ position: string; events: number; seqs: string[] }>(
      `select position, events, seqs from sluice.audit_seals where tenant_id = 'acme' order by position limit 1 offset 1`,
    )
    const [second] = rows
    await tamper(`delete from sluice.audit_seals where tenant_id = 'acme' and position = ${second?.position}`)
    expect(await found()).toEqual([
      { kind: 'seal_missing', tenant: 'acme', position: Number(second?.position), seq: expect.anything() },
      { kind: 'inserted', tenant: 'acme', position: null, seq: second?.seqs[0] },
    ])
    await tamper(`update sluice.audit_seals set position = position + 1 where tenant_id = 'other' and position = 1`)
    expect((await found()).filter(({ tenant }) => tenant === 'other')).toMatchObject([
      { kind: 'seal_missing', position: 1 },
      // What stands behind it was hashed with another position.
      { kind: 'changed' },
      { kind: 'seal_missing' },
    ])
  })

  test('a second event under the number of a sealed one', async () => {
    const seq = await seqAt(6)
    await tamper(`insert into sluice.domain_events (seq, tenant_id, type, actor) values (${seq}, 'acme', 'x', 'eve')`)
    expect(await found()).toContainEqual({ kind: 'inserted', tenant: 'acme', position: null, seq })
  })

  test('a rewritten chain, by a head that was kept elsewhere', async () => {
    const { places } = await verify()
    const seq = await seqAt(2)
    await tamper(`update sluice.domain_events set actor = 'eve' where seq = ${seq}`, 'delete from sluice.audit_seals')
    await sealEvents({ database })
    expect(await found()).toEqual([])
    expect(await found(new Map([...places].map(([tenant, place]) => [tenant, [place]])))).toEqual([
      { kind: 'head_differs', tenant: 'acme', position: 20, seq: null },
    ])
  })

  test('a log that was truncated, seals and all', async () => {
    const { places } = await verify()
    await tamper('delete from sluice.domain_events', 'delete from sluice.audit_seals')
    expect(await found(new Map([...places].map(([tenant, place]) => [tenant, [place]])))).toMatchObject([
      { kind: 'cut', tenant: 'acme', position: 1 },
      { kind: 'cut', tenant: 'other', position: 1 },
    ])
  })
})

describe('who may write seals', () => {
  test.each(['sluice_api', 'sluice_feed', 'sluice_retention'] as const)('not %s', async (role) => {
    for (const statement of ['insert into sluice.audit_seals default values', 'delete from sluice.audit_seals']) {
      await expect(
        database.transaction({ role, tenant: 'acme' }, (tx) => sql.raw(statement).execute(tx)),
      ).rejects.toMatchObject({ code: '42501' })
    }
  })

  test('nobody changes or removes one', async () => {
    for (const table of ['audit_seals', 'audit_checkpoints']) {
      await database.pool.query(
        `insert into sluice.audit_checkpoints values ('x', 1, 1, 0, '', 'p') on conflict do nothing`,
      )
      for (const statement of [
        `update sluice.${table} set round = 0`,
        `delete from sluice.${table}`,
        `truncate sluice.${table}`,
      ]) {
        await expect(database.pool.query(statement)).rejects.toMatchObject({ code: 'SL003' })
      }
    }
  })
})
