import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../../test/helpers/core.ts'
import { startPooler } from '../../../test/helpers/pooler.ts'
import { createTestDatabase } from '../../../test/helpers/test-database.ts'
import { until } from '../../../test/helpers/until.ts'
import { accept, startWorker, testOperation } from '../../../test/helpers/worker.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../cli/embedded-postgres/start-embedded-postgres.ts'
import { createDatabase } from '../../database/database.ts'
import { completed } from '../../operations/define-operation.ts'
import { migrate } from '../../queue/migrate.ts'
import { createHeartbeat } from '../heartbeat.ts'
import { examine } from './examine.ts'
import type { Finding, HealthLimits } from './finding.ts'

// A server of its own: some conditions are the whole server's.
let folder: string
let server: EmbeddedPostgres
let core: Core
let admin: Client
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-doctor-'))
  server = await startEmbeddedPostgres({
    dataDir: folder,
    // 64 pages of 8 KiB: a full queue of notifications is within a test's reach.
    settings: { fsync: 'off', max_prepared_transactions: '2', max_notify_queue_pages: '64' },
  })
  await migrate(server.connectionString)
  core = await startCore({ url: server.connectionString })
  admin = new Client({ connectionString: server.connectionString })
  await admin.connect()
})
const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const one of undo.splice(0).toReversed()) await one()
})
afterAll(async () => {
  await admin.end()
  await core.stop()
  await server.stop()
  await rm(folder, { recursive: true })
})

const idle = testOperation({ type: 'test.idle', perform: async () => completed({}) })

async function find(check: Finding['check'], limits: Partial<HealthLimits> = {}): Promise<Finding> {
  const { findings } = await examine({ databaseUrl: core.url, limits })
  const found = findings.find((finding) => finding.check === check)
  if (!found) throw new Error(`there is no finding about ${check}, but: ${JSON.stringify(findings)}`)
  return found
}

/** A change that is taken back after the test. */
async function change(statement: string, back: string): Promise<void> {
  await admin.query(statement)
  undo.push(() => admin.query(back))
}

async function work(options: Parameters<typeof startWorker>[2] = {}): Promise<void> {
  const worker = await startWorker(core, [idle], options)
  undo.push(() => worker.stop(0))
}

test('nothing is wrong with a database that a worker is up on', async () => {
  await work()
  const { state, findings } = await examine({ databaseUrl: core.url })
  expect(findings.filter((finding) => finding.state !== 'ok')).toEqual([])
  expect(state).toBe('ok')
  expect(findings.every(({ advice }) => advice === null)).toBe(true)
  expect(findings.map(({ check }) => check)).toEqual([
    'schema',
    'processes',
    'clock skew',
    'backlog',
    'signals',
    'long transactions',
    'dead tuples',
    'bloat',
  ])
})

describe('schema', () => {
  test.each([
    [
      'an index that somebody dropped',
      'drop index sluice.tasks_batch',
      'create index tasks_batch on sluice.tasks (batch_id) where batch_id is not null',
      /index tasks_batch \(missing\)/,
    ],
    [
      'a trigger that is off',
      'alter table sluice.tasks disable trigger tasks_projection_only',
      'alter table sluice.tasks enable trigger tasks_projection_only',
      /trigger tasks\.tasks_projection_only/,
    ],
    [
      'a column that is otherwise',
      'alter table sluice.pauses alter column reason set not null',
      'alter table sluice.pauses alter column reason drop not null',
      /column pauses\.reason/,
    ],
    [
      'a table without its policies',
      'alter table sluice.tickets disable row level security',
      'alter table sluice.tickets enable row level security',
      /table tickets/,
    ],
    [
      'a right too many',
      'grant delete on sluice.tasks to sluice_api',
      'revoke delete on sluice.tasks from sluice_api',
      /grants on tasks to sluice_api/,
    ],
    [
      'autovacuum as by default',
      'alter table sluice.tasks reset (autovacuum_vacuum_scale_factor)',
      'alter table sluice.tasks set (autovacuum_vacuum_scale_factor = 0.01)',
      /table tasks/,
    ],
    ['an index of the engine', 'drop index pgboss.job_common_i4', '', /job_common_i4 of the engine/],
  ])('%s is found', async (_name, statement, back, named) => {
    const { rows } = await admin.query(`select indexdef from pg_indexes where indexname = 'job_common_i4'`)
    await change(statement, back === '' ? String(rows[0]?.indexdef) : back)
    const found = await find('schema')
    expect(found).toMatchObject({ state: 'fail', found: expect.stringMatching(named) })
    expect(found.advice).toMatch(/put it back/)
  })

  test('what somebody added is theirs', async () => {
    await change('create table sluice.notes (id int)', 'drop table sluice.notes')
    await change('create index theirs on sluice.tasks (priority)', 'drop index sluice.theirs')
    expect(await find('schema')).toMatchObject({ state: 'ok' })
  })

  test.each([
    ['a missing migration', `delete from sluice.migrations where name like '0039%'`, /Migrations are missing: 0039/],
    ['an unknown one', `insert into sluice.migrations values ('9999-later.sql', 'x')`, /does not know: 9999-later/],
    [
      'a changed one',
      `update sluice.migrations set checksum = 'x' where name like '0001%'`,
      /changed after they ran: 0001/,
    ],
    ['another engine', 'update pgboss.version set version = version - 1', /has version \d+, this program’s has \d+/],
  ])('%s is found, and nothing else is looked at', async (_name, statement, said) => {
    await admin.query('begin')
    await admin.query(statement)
    // Seen by others only after the commit, and put back by what was read before.
    const before = await core.database.pool.query('select * from sluice.migrations')
    const engine = await core.database.pool.query('select version from pgboss.version')
    await admin.query('commit')
    undo.push(async () => {
      await admin.query('delete from sluice.migrations')
      for (const row of before.rows) {
        await admin.query('insert into sluice.migrations values ($1, $2, $3)', [row.name, row.checksum, row.applied_at])
      }
      await admin.query('update pgboss.version set version = $1', [engine.rows[0].version])
    })
    const { findings } = await examine({ databaseUrl: core.url })
    expect(findings[0]).toMatchObject({ check: 'schema', state: 'fail', found: expect.stringMatching(said) })
  })

  test('PostgreSQL upgraded beneath it: unknown until the next migrate, which records it anew', async () => {
    await admin.query(`update sluice.catalogue set digest = md5('9') where object = 'server'`)
    await admin.query(`update sluice.catalogue set digest = 'as 9 wrote it' where object like 'index %'`)
    expect(await find('schema')).toMatchObject({ state: 'warn', advice: expect.stringContaining('sluice migrate') })
    expect(await migrate(core.url)).toEqual([])
    expect(await find('schema')).toMatchObject({ state: 'ok' })
  })

  test('a migration records what it changed, and not what somebody changed before it', async () => {
    await admin.query('drop index sluice.tasks_retries')
    await admin.query(`delete from sluice.migrations where name like '0038%'`)
    // 0038 adds two columns and an index, and makes the function of notifications and a constraint anew.
    await admin.query('alter table sluice.schedules drop column made_by')
    await admin.query('alter table sluice.notifications drop column environment')
    await admin.query('drop index sluice.notifications_newest')
    await admin.query(
      'create or replace function sluice.make_notifications() returns trigger language plpgsql as $$ begin return null; end $$',
    )
    expect(await migrate(core.url)).toEqual(['0038-skipped-schedules.sql'])
    expect(await find('schema')).toMatchObject({
      found: 'The schema is not as the migrations left it: index tasks_retries (missing).',
    })
    await admin.query('create index tasks_retries on sluice.tasks (retry_of) where retry_of is not null')
  })

  test('no Sluice at all', async () => {
    const { findings, state } = await examine({ databaseUrl: new URL('/postgres', core.url).href })
    expect(findings).toMatchObject([
      { check: 'schema', state: 'fail', advice: expect.stringContaining('sluice migrate') },
    ])
    expect(state).toBe('fail')
  })
})

describe('processes, clocks and the backlog', () => {
  test('no worker is up; one was lost', async () => {
    expect(await find('processes')).toMatchObject({ state: 'fail', found: 'No process is up.' })
    const heartbeat = createHeartbeat(core.database, {
      workerId: 'api/1',
      role: 'api',
      version: '1',
      slots: 0,
      host: 'h',
      pid: 1,
      operations: [],
    })
    await heartbeat.beat(0)
    undo.push(() => heartbeat.leave())
    expect(await find('processes')).toMatchObject({ state: 'fail', found: expect.stringMatching(/^No worker is up/) })
    await work()
    expect(await find('processes')).toMatchObject({ state: 'ok', found: '1 worker of 2 up.' })
    await admin.query(
      `update sluice.workers set heartbeat_at = now() - interval '16 seconds' where worker_id = 'api/1'`,
    )
    expect(await find('processes')).toMatchObject({
      state: 'warn',
      found: expect.stringContaining('lost within the last hour: api/1'),
    })
  })

  test.each([
    ['a little', 5_000, 'warn'],
    ['an hour', 3_600_000, 'fail'],
  ])('a clock that is %s ahead', async (_name, shiftMs, state) => {
    await work({ workerId: 'early', wallClock: () => Date.now() + shiftMs })
    expect(await find('clock skew')).toMatchObject({ state, found: expect.stringMatching(/: early by \d+ ms\.$/) })
  })

  test.each([
    ['a minute', '61 seconds', 'warn'],
    ['ten', '11 minutes', 'fail'],
  ])('a job that nobody has taken for %s', async (_name, age, state) => {
    const taskId = await accept(core, idle)
    expect(await find('backlog')).toMatchObject({ state: 'ok', found: expect.stringMatching(/^Due: 1 in sluice-long/) })
    await admin.query(
      `update pgboss.job set start_after = now() - $2::interval, created_on = now() - $2::interval where id = $1`,
      [taskId, age],
    )
    undo.push(() => admin.query('delete from pgboss.job where id = $1', [taskId]))
    expect(await find('backlog')).toMatchObject({ state, advice: expect.stringContaining('Start more workers') })
  })
})

describe('signals', () => {
  test('a process that does not listen', async () => {
    await work()
    const heartbeat = createHeartbeat(core.database, {
      workerId: 'deaf',
      role: 'worker',
      version: '1',
      slots: 1,
      host: 'h',
      pid: 1,
      operations: [],
    })
    await heartbeat.beat(0)
    undo.push(() => heartbeat.leave())
    expect(await find('signals')).toMatchObject({ state: 'warn', found: '1 of 2 processes listen; the others poll.' })
  })

  test('behind a pooler that gives a session away no notification arrives', { timeout: 20_000 }, async () => {
    const pooler = await startPooler(core.url)
    undo.push(() => pooler.stop())
    const { findings } = await examine({ databaseUrl: pooler.url, limits: { notifyMs: { warn: 100, fail: 1_000 } } })
    expect(findings.find(({ check }) => check === 'signals')).toMatchObject({
      state: 'fail',
      advice: expect.stringContaining('PgBouncer'),
    })
  })

  test('a queue of notifications that fills up, since somebody listens and never looks', async () => {
    const stuck = new Client({ connectionString: core.url })
    await stuck.connect()
    undo.push(() => stuck.end())
    await stuck.query('listen something')
    await stuck.query('begin')
    await stuck.query('select 1')
    const usage = async () => (await admin.query('select pg_notification_queue_usage() as u')).rows[0].u as number
    while ((await usage()) < 0.1)
      await admin.query(`select pg_notify('x', repeat('x', 7000) || i) from generate_series(1, 3) i`)
    expect(await find('signals')).toMatchObject({
      state: 'warn',
      found: expect.stringMatching(/^The queue of notifications is \d\d % full/),
    })
    while ((await usage()) < 0.5)
      await admin.query(`select pg_notify('x', repeat('x', 7000) || i) from generate_series(1, 3) i`)
    expect(await find('signals')).toMatchObject({ state: 'fail', advice: expect.stringContaining('long transactions') })
  })
})

describe('long transactions', () => {
  const short = { transactionMs: { warn: 200, fail: 60_000 } }

  test('one that stands open is named, with how to end it', async () => {
    const { pid, end } = await open('idle by intent')
    undo.push(end)
    await until(async () => (await find('long transactions', short)).state === 'warn')
    const found = await find('long transactions', short)
    expect(found.found).toMatch(
      new RegExp(`^Open: pid ${pid} \\(idle by intent, idle in transaction, \\d+ s\\): select 1\\.$`),
    )
    expect(found.advice).toContain(`pg_terminate_backend(${pid})`)
    expect(await find('long transactions', { transactionMs: { warn: 100, fail: 200 } })).toMatchObject({
      state: 'fail',
    })
  })

  test('one that was prepared and forgotten', async () => {
    await admin.query('begin')
    await admin.query(`create table forgotten (id int)`)
    await admin.query(`prepare transaction 'forgotten'`)
    undo.push(() => admin.query(`rollback prepared 'forgotten'`))
    await until(async () => (await find('long transactions', short)).state === 'warn')
    expect((await find('long transactions', short)).advice).toContain(`rollback prepared 'forgotten'`)
  })

  async function open(name: string) {
    const client = new Client({ connectionString: core.url, application_name: name })
    await client.connect()
    await client.query('begin')
    const { rows } = await client.query('select pg_backend_pid() as pid')
    await client.query('select 1')
    return { pid: rows[0].pid as number, end: () => client.end() }
  }
})

describe('dead tuples and bloat', () => {
  const keys = (n: number, text: string) =>
    admin.query(
      `insert into sluice.idempotency_keys (tenant_id, principal, key, request_hash, task_id, status, deduplicated, expires_at)
       select 'default', 'p', i::text, ${text}, gen_random_uuid(), 'PENDING', false, now() from generate_series(1, $1) i`,
      [n],
    )

  test(
    'more dead rows than autovacuum should leave, and a table that it leaves alone',
    { timeout: 60_000 },
    async () => {
      await change(
        'alter table sluice.idempotency_keys set (autovacuum_enabled = false)',
        'alter table sluice.idempotency_keys reset (autovacuum_enabled)',
      )
      undo.push(() => admin.query('vacuum sluice.idempotency_keys'))
      expect(await find('dead tuples')).toMatchObject({
        state: 'warn',
        found: 'Autovacuum leaves sluice.idempotency_keys alone.',
      })
      await keys(12_000, `''`)
      await admin.query('delete from sluice.idempotency_keys')
      await until(async () => {
        // A connection tells its numbers when it is used, at most once a second.
        await admin.query('select 1')
        return (await find('dead tuples')).found.startsWith('Many')
      })
      expect(await find('dead tuples')).toMatchObject({
        state: 'warn',
        found: 'Many: sluice.idempotency_keys 12000 beside 0 live ones.',
        advice: expect.stringContaining('VACUUM (ANALYZE) sluice.idempotency_keys'),
      })
      const limits = { deadTuples: { warn: 1_000, fail: 10_000 } }
      expect(await find('dead tuples', limits)).toMatchObject({ state: 'fail' })
    },
  )

  test('autovacuum that is off', async () => {
    const set = async (to: string) => {
      await admin.query(`alter system set autovacuum = ${to}`)
      await admin.query('select pg_reload_conf()')
    }
    await set('off')
    undo.push(() => set('on'))
    await until(async () => (await find('dead tuples')).state === 'fail')
    expect((await find('dead tuples')).found).toMatch(/^Autovacuum is off/)
  })

  test('a table that takes far more room than its rows need', { timeout: 60_000 }, async () => {
    // A KiB each that does not compress: 48 MiB, of which the last rows keep the file from being cut.
    await keys(48_000, `(select string_agg(md5(i || '/' || k), '') from generate_series(1, 30) k)`)
    undo.push(() => admin.query('truncate sluice.idempotency_keys'))
    await admin.query('analyze sluice.idempotency_keys')
    expect(await find('bloat')).toMatchObject({ state: 'ok' })
    await admin.query(`delete from sluice.idempotency_keys where key::int < 47990`)
    await admin.query('vacuum analyze sluice.idempotency_keys')
    expect(await find('bloat')).toMatchObject({
      state: 'warn',
      found: expect.stringMatching(/^Unused: sluice\.idempotency_keys \d\d MiB of \d\d MiB\.$/),
      advice: expect.stringContaining('VACUUM FULL sluice.idempotency_keys'),
    })
    expect(await find('bloat', { wastedBytes: { warn: 1, fail: 1024 ** 2 } })).toMatchObject({ state: 'fail' })
  })
})

test('it changes nothing, and needs no right to', async () => {
  const { url } = await createTestDatabase()
  const database = createDatabase({ url, poolMax: 1, poolMin: 0 })
  const count = async () =>
    (await database.pool.query(`select sum(n_tup_ins + n_tup_upd + n_tup_del)::int as n from pg_stat_xact_user_tables`))
      .rows
  const reader = new URL(url)
  reader.searchParams.set('options', '-c default_transaction_read_only=on')
  const before = await count()
  const { findings } = await examine({ databaseUrl: reader.href })
  expect(findings).toHaveLength(8)
  expect(await count()).toEqual(before)
  await database.stop()
})
