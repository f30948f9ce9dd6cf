import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { grantRole } from '../identity/role-bindings.ts'
import { createToken } from '../identity/tokens.ts'
import type { Transaction } from './database.ts'

let core: Core
let tables: string[]
beforeAll(async () => {
  core = await startCore()
  await core.acceptor.accept({
    operation: noop,
    input: { name: 'a' },
    options: {},
    tenant: 'acme',
    actor: 'a',
    idempotencyKey: 'once',
  })
  await grantRole(core.database, { tenant: 'acme', principal: 'a', role: 'admin', actor: 'a' })
  await createToken(core.database, { tenant: 'acme', principal: 'a', name: 'ci', actor: 'a' })
  const { rows } = await core.database.pool.query<{ name: string }>(tenantTables)
  tables = rows.map(({ name }) => name)
  await furnish()
})
afterAll(() => core.stop())

/** What the checks of a column want, where it is not what its type alone says. */
const wanted: Readonly<Record<string, string>> = {
  'batches.on_error': `'stop'`,
  'clusters.authentication': `'token'`,
  'clusters.sealed_credentials': `'x'`,
  'decisions.decision': `'approve'`,
  'holds.reason': `'paused'`,
  'limits.scope': `'tenant'`,
  'notifications.kind': `'task_ended'`,
  'resources.state': `'present'`,
  'tickets.task_id': 'gen_random_uuid()',
  'webhooks.style': `'standard'`,
}
const ofType: Readonly<Record<string, string>> = {
  text: `'x'`,
  uuid: 'gen_random_uuid()',
  jsonb: `'{}'`,
  integer: '1',
  bigint: '1',
  bytea: `'x'`,
  boolean: 'false',
  'text[]': `'{}'`,
  'bigint[]': `'{}'`,
  'timestamp with time zone': 'now()',
}

/** A row of acme's in every table: one that is empty keeps nobody from reading it. */
async function furnish(): Promise<void> {
  for (const table of tables) {
    const { rows } = await core.database.pool.query<{ name: string; type: string; needed: boolean }>(
      `select attname as name, format_type(atttypid, atttypmod) as type,
         attnotnull and not atthasdef and attidentity = '' as needed
       from pg_attribute where attrelid = ('sluice.' || $1)::regclass and attnum > 0 and not attisdropped`,
      [table],
    )
    const columns = rows.filter(
      ({ name, needed }) => needed || name === 'tenant_id' || wanted[`${table}.${name}`] !== undefined,
    )
    const values = columns.map(({ name, type }) =>
      name === 'tenant_id' ? `'acme'` : (wanted[`${table}.${name}`] ?? ofType[type] ?? `'no value for ${type}'`),
    )
    await core.database.pool.query(
      // Without triggers and foreign keys: the row itself is all that matters here.
      `begin; set local session_replication_role = replica;
       insert into sluice.${table} (${columns.map(({ name }) => name).join(', ')})
         select ${values.join(', ')} where not exists (select from sluice.${table} where tenant_id = 'acme');
       commit`,
    )
  }
}

// Partitions are reached through their parent only: no role but the owner has a right on one.
const tenantTables = `select c.relname as name from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
  where c.relnamespace = 'sluice'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1`

const asApi = <T>(tenant: string | undefined, work: (tx: Transaction) => Promise<T>): Promise<T> =>
  core.database.transaction({ role: 'sluice_api', ...(tenant !== undefined && { tenant }) }, work)

type Attempt = (tx: Transaction, table: string) => Promise<number>

const affected = async (tx: Transaction, statement: string): Promise<number> => {
  const { numAffectedRows, rows } = await sql.raw(statement).execute(tx)
  return rows.length > 0 ? rows.length : Number(numAffectedRows ?? 0)
}

/** What the API may write by itself, in its own tenant. Written down by hand: a right more is a decision. */
const writtenByTheApi: Readonly<Record<string, string>> = {
  api_tokens: 'insert update',
  batches: 'insert',
  clusters: 'delete insert update',
  decisions: 'insert update',
  deliveries: 'insert',
  input_secrets: 'delete insert',
  limits: 'delete insert update',
  notification_preferences: 'insert update',
  notification_reads: 'insert',
  pauses: 'delete insert update',
  role_bindings: 'delete insert update',
  schedules: 'delete insert update',
  ticket_items: 'update',
  tickets: 'update',
  webhooks: 'insert update',
}

/** Each reaches for rows of `acme`; what it gets hold of is counted. */
const attempts: Readonly<Record<string, Attempt>> = {
  select: (tx, table) => affected(tx, `select tenant_id from sluice.${table} where tenant_id = 'acme'`),
  update: (tx, table) => affected(tx, `update sluice.${table} set tenant_id = 'other' where tenant_id = 'acme'`),
  delete: (tx, table) => affected(tx, `delete from sluice.${table} where tenant_id = 'acme'`),
  // The policy is asked before a constraint is: an empty row is enough.
  insert: (tx, table) => affected(tx, `insert into sluice.${table} (tenant_id) values ('acme')`),
}

/** Rows that the attempt got hold of; 0 when the database refused it for want of a right or by a policy. */
async function reach(tenant: string | undefined, attempt: Attempt, table: string): Promise<number | string> {
  try {
    return await asApi(tenant, (tx) => attempt(tx, table))
  } catch (error) {
    // 42501: permission denied, or a row that the policy does not let through.
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    return code === '42501' ? 0 : `${code}: ${String(error)}`
  }
}

describe('row-level security: a transaction of the API reaches one tenant', () => {
  test('every table with a tenant is tried, and its own tenant sees its rows in each', async () => {
    expect(tables).toEqual(expect.arrayContaining(['api_tokens', 'domain_events', 'role_bindings', 'tasks', 'waits']))
    const unseen: unknown[] = []
    for (const table of tables) {
      const { rows } = await core.database.pool.query(`select from sluice.${table} where tenant_id = 'acme'`)
      expect([table, rows.length]).not.toEqual([table, 0])
      const seen = await reach('acme', (tx) => attempts['select']?.(tx, table) ?? Promise.resolve(0), table)
      if (seen !== rows.length) unseen.push(table)
    }
    expect(unseen).toEqual([])
  })

  test.each(Object.keys(attempts))('%s reaches nothing as another tenant and as nobody, on any table', async (kind) => {
    const attempt = attempts[kind]
    if (!attempt) throw new Error(`there is no attempt ${kind}`)
    const got: unknown[] = []
    for (const table of tables) {
      for (const tenant of ['other', undefined]) {
        const reached = await reach(tenant, attempt, table)
        if (reached !== 0) got.push([table, tenant ?? 'nobody', reached])
      }
    }
    expect(got).toEqual([])
  })

  test('every table with a tenant has row-level security and a policy for the role of the API', async () => {
    expect(await unprotected()).toEqual([])
  })

  test('the check of the catalogue notices a table without one', async () => {
    await core.database.pool.query('create table sluice.forgotten (tenant_id text)')
    expect(await unprotected()).toEqual(['forgotten'])
    await core.database.pool.query('alter table sluice.forgotten enable row level security')
    expect(await unprotected()).toEqual(['forgotten'])
    await core.database.pool.query('drop table sluice.forgotten')
  })

  test('partitions of the log are out of reach by their own names', async () => {
    const { rows } = await core.database.pool.query<{ name: string }>(
      `select c.relname as name from pg_class c where c.relnamespace = 'sluice'::regnamespace and c.relispartition
         and c.relkind = 'r' and (has_table_privilege('sluice_api', c.oid, 'select') or has_table_privilege('sluice_api', c.oid, 'insert'))`,
    )
    expect(rows).toEqual([])
  })

  test('the role of the API writes no record of a worker’s, not even of its own tenant', async () => {
    const { rows } = await core.database.pool.query<{ name: string; rights: string }>(
      `select t.name, string_agg(r.name, ' ' order by r.name) as rights from (${tenantTables}) t,
         unnest(array['insert', 'update', 'delete']) r(name)
       where case r.name when 'delete' then has_table_privilege('sluice_api', 'sluice.' || t.name, 'delete')
         else has_any_column_privilege('sluice_api', 'sluice.' || t.name, r.name) end
       group by 1 order by 1`,
    )
    expect(Object.fromEntries(rows.map(({ name, rights }) => [name, rights]))).toEqual(writtenByTheApi)
    // Records, waits, tasks and the log: by functions that check what they are told, or not at all.
    for (const statement of [
      `insert into sluice.resources (tenant_id, cluster, api_version, kind, name, target, state, task_id)
        values ('acme', 'c', 'v1', 'K', 'n', 't', 'present', gen_random_uuid())`,
      `update sluice.resources set state = 'deleted'`,
      `delete from sluice.waits`,
      `update sluice.tasks set status = 'COMPLETED'`,
      `insert into sluice.domain_events (tenant_id, type, actor, payload) values ('acme', 'task.completed', 'a', '{}')`,
    ]) {
      await expect(asApi('acme', (tx) => sql.raw(statement).execute(tx))).rejects.toMatchObject({ code: '42501' })
    }
  })

  test('the hash of a token is not readable, not even in its own tenant', async () => {
    await expect(asApi('acme', (tx) => sql.raw('select hash from sluice.api_tokens').execute(tx))).rejects.toThrow(
      /permission denied/,
    )
  })
})

async function unprotected(): Promise<string[]> {
  const { rows } = await core.database.pool.query<{ name: string }>(
    `select name from (${tenantTables}) t join pg_class c on c.oid = ('sluice.' || t.name)::regclass
     where not c.relrowsecurity or not exists (
       select from pg_policy p where p.polrelid = c.oid
         and p.polroles @> array[(select oid from pg_roles where rolname = 'sluice_api')]
         and pg_get_expr(p.polqual, p.polrelid) like '%sluice.tenant%')`,
  )
  return rows.map(({ name }) => name)
}
