import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { appendNote } from '../database/append-note.sql.ts'
import { createDatabase, type Database, type Transaction } from '../database/database.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { retain } from '../worker/housekeeping.ts'
import { noteDrops, sealEvents } from './seal.ts'
import { verifyAudit } from './verify.ts'

let database: Database
beforeEach(async () => {
  const { url } = await createTestDatabase()
  database = createDatabase({ url, poolMax: 20, poolMin: 0 })
})
afterEach(() => database.stop())

const note = (tx: Transaction) => appendNote(tx, { type: 'test.noted', actor: 'anna', data: {} })
const write = (tenant: string) => database.transaction({ role: 'sluice_api', tenant }, note)
const verify = () => verifyAudit({ database })
const sealed = async () =>
  (
    await database.pool.query<{ tenant_id: string; position: string; events: number }>(
      'select tenant_id, position, events from sluice.audit_seals order by round, tenant_id, position',
    )
  ).rows.map(({ tenant_id, position, events }) => [tenant_id, Number(position), events])

describe('sealing, behind the writers', () => {
  test('waits for a transaction that has a number and is not committed, and for nobody else', async () => {
    let commit = () => {}
    const held = new Promise<void>((resolve) => (commit = resolve))
    let began = () => {}
    const hasNumber = new Promise<void>((resolve) => (began = resolve))
    await write('acme')
    const slow = database.transaction({ role: 'sluice_api', tenant: 'acme' }, async (tx) => {
      await note(tx)
      began()
      await held
    })
    await hasNumber
    // Newer, and there first.
    await write('acme')
    expect(await sealEvents({ database })).toBe(1)
    commit()
    await slow
    expect(await sealEvents({ database })).toBe(2)
    expect(await sealed()).toEqual([
      ['acme', 1, 1],
      ['acme', 2, 2],
    ])
    expect(await verify()).toMatchObject({ events: 3, findings: [] })
  })

  test('many writers and several sealers at once: every event has its place, once', async () => {
    let writing = true
    const sealers = Array.from({ length: 3 }, async () => {
      while (writing) await sealEvents({ database, roundSize: 10 })
    })
    const writers = Array.from({ length: 12 }, async (_, writer) => {
      for (let i = 0; i < 40; i++) {
        await database.transaction({ role: 'sluice_api', tenant: `t${writer % 3}` }, async (tx) => {
          await note(tx)
          if (i % 5 === 0) await delay(writer)
          await note(tx)
        })
      }
    })
    await Promise.all(writers)
    writing = false
    await Promise.all(sealers)
    await sealEvents({ database })
    expect(await verify()).toMatchObject({ events: 12 * 40 * 2, findings: [], tail: { events: 0 } })
  })

  test('keeps the events of two months apart: each goes with its partition', async () => {
    for (let i = 0; i < 4; i++) await write('acme')
    await moveTo('2020-01', 'where seq <= (select min(seq) + 1 from sluice.domain_events)')
    await sealEvents({ database })
    expect(await sealed()).toEqual([
      ['acme', 1, 2],
      ['acme', 3, 2],
    ])
  })
})

/** Writes events into another month, before they are sealed. */
async function moveTo(month: string, where: string): Promise<void> {
  const client = await database.pool.connect()
  const name = month.replace('-', '_')
  const bounds = `for values from ('${month}-01T00:00:00Z') to (('${month}-01T00:00:00Z'::timestamptz at time zone 'UTC' + interval '1 month') at time zone 'UTC')`
  try {
    await client.query(`set session_replication_role = 'replica'`)
    for (const table of ['domain_events', 'audit_seals']) {
      await client.query(`create table if not exists sluice.${table}_${name} partition of sluice.${table} ${bounds}`)
    }
    await client.query(
      `update sluice.domain_events set at = '${month}-15T00:00:00Z'::timestamptz + seq * interval '1 ms' ${where}`,
    )
  } finally {
    await client.query('reset session_replication_role')
    client.release()
  }
}

const sweep = () => {
  const unused = {} as never
  return retain({
    database,
    queue: unused,
    signals: unused,
    logger: createMemoryLogger(),
    workerId: 'w',
    graceMs: 0,
    retentionDays: 30,
  })
}

describe('retention drops the log by partitions, and the chain survives', () => {
  // Numbers of January and February lie between each other, as they do around midnight.
  const fill = async () => {
    for (let i = 0; i < 12; i++) await write(i % 4 === 3 ? 'other' : 'acme')
    const { rows } = await database.pool.query<{ seq: string }>('select seq from sluice.domain_events order by seq')
    const seqs = rows.map(({ seq }) => seq)
    await moveTo('2020-01', `where seq <= ${seqs[5]} and seq <> ${seqs[4]} or seq = ${seqs[6]}`)
    await moveTo('2020-02', `where seq = ${seqs[4]} or seq between ${seqs[7]} and ${seqs[8]}`)
    await sealEvents({ database, roundSize: 5 })
  }

  test('what was dropped is told by a checkpoint, and in the log; the rest is verified as before', async () => {
    await fill()
    const before = await verify()
    expect(before).toMatchObject({ events: 12, findings: [] })
    expect((await sweep()).partitions).toEqual(['domain_events_2020_01', 'domain_events_2020_02'])
    await sealEvents({ database })
    // A head from before the drop still has its place.
    const heads = new Map([...before.places].map(([tenant, place]) => [tenant, [place]]))
    const after = await verifyAudit({ database, heads })
    expect(after.findings).toEqual([])
    // Three of this month, and what each log tells of the two drops.
    const { rows } = await database.pool.query(
      `select tenant_id, count(*)::int as drops from sluice.domain_events where type = 'log.dropped' group by 1 order by 1`,
    )
    expect(rows).toEqual([
      { tenant_id: 'acme', drops: 2 },
      { tenant_id: 'other', drops: 2 },
    ])
    expect(after.events).toBe(3 + 4)
    const head = before.places.get('acme')
    expect(
      await verifyAudit({ database, heads: new Map([['acme', [{ position: head?.position ?? 0, hash: 'ff' }]]]) }),
    ).toMatchObject({
      findings: [{ kind: 'head_differs' }],
    })
  })

  test('nothing is dropped before it is sealed', async () => {
    await write('acme')
    await moveTo('2020-01', '')
    expect((await sweep()).partitions).toEqual([])
    await sealEvents({ database })
    expect((await sweep()).partitions).toEqual(['domain_events_2020_01'])
  })

  test('an event that was put back into what was dropped is found', async () => {
    await fill()
    await sweep()
    await sealEvents({ database })
    await database.pool.query(`set session_replication_role = 'replica';
      insert into sluice.domain_events (seq, tenant_id, type, actor) values (3, 'acme', 'x', 'eve');
      reset session_replication_role`)
    expect((await verify()).findings).toMatchObject([{ kind: 'inserted', tenant: 'acme', seq: '3' }])
  })

  test('who removes events and says that retention did is found', async () => {
    for (let i = 0; i < 6; i++) await write('acme')
    await sealEvents({ database, roundSize: 3 })
    await database.pool.query(`set session_replication_role = 'replica';
      insert into sluice.audit_checkpoints (tenant_id, position, events, round, link, partition)
        select tenant_id, position, events, round, substring(links from 32 * (events - 1) + 1), 'domain_events_2020_01'
        from sluice.audit_seals where position = 1;
      delete from sluice.domain_events e using sluice.audit_seals s where s.position = 1 and e.seq = any(s.seqs);
      delete from sluice.audit_seals where position = 1;
      reset session_replication_role`)
    const kinds = async () => (await verify()).findings.map(({ kind, position }) => [kind, position])
    // No such partition was dropped, and the log does not tell of it either.
    expect(await kinds()).toEqual([
      ['checkpoint_false', 1],
      ['checkpoint_false', 3],
    ])
    await database.pool.query(
      `insert into sluice.log_checkpoints values ('domain_events_2020_01', 1, 3, 3, '', now(), now())`,
    )
    expect(await kinds()).toEqual([['checkpoint_false', 3]])
  })

  test('a drop that a dying process did not tell of is told by the next one', async () => {
    await fill()
    await database.transaction({ role: 'sluice_retention' }, async (tx) => {
      const { dropSealedPartition } = await import('../worker/retention.sql.ts')
      expect(await dropSealedPartition(tx, 30)).toBe('domain_events_2020_01')
    })
    // Not told yet is no finding: whoever comes next tells it.
    expect((await verify()).findings).toEqual([])
    await noteDrops(database, 'next')
    expect((await verify()).findings).toEqual([])
    await sealEvents({ database })
    expect((await verify()).findings).toEqual([])
  })
})
