import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { migrate } from './migrate.ts'
import { queueNames } from './queue.ts'

let url: string
let client: Client
beforeAll(async () => {
  url = (await createTestDatabase()).url
  client = new Client({ connectionString: url })
  await client.connect()
})
afterAll(() => client.end())

/** Tables that hold rows of these, without the setting. */
async function without(tables: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select c.oid::regclass::text as name from unnest($1::text[]) t cross join lateral pg_partition_tree(t::regclass) p
     join pg_class c on c.oid = p.relid
     where p.isleaf and not coalesce('autovacuum_vacuum_scale_factor=0.01' = any(c.reloptions), false)`,
    [tables],
  )
  return rows.map(({ name }) => name)
}

/** What changes with every task, ticket or request. */
const hot = [
  'tasks',
  'waits',
  'holds',
  'workers',
  'batches',
  'idempotency_keys',
  'resources',
  'tickets',
  'ticket_items',
  'notifications',
  'deliveries',
]

describe('hot tables are vacuumed after 1 % of them', () => {
  test('Sluice’s own', async () => {
    // `pg_partition_tree` gives nothing for a table that is not partitioned.
    const { rows } = await client.query<{ name: string }>(
      `select c.relname as name from pg_class c where c.relnamespace = 'sluice'::regnamespace and c.relname = any($1)
         and 'autovacuum_vacuum_scale_factor=0.01' = any(c.reloptions)`,
      [hot],
    )
    expect(rows.map(({ name }) => name).toSorted()).toEqual(hot.toSorted())
  })

  test('the engine’s jobs: each table that holds some, after its own migration', async () => {
    expect(await without(['pgboss.job'])).toEqual([])
    const { rows } = await client.query(
      `select count(*)::int as leaves from pg_partition_tree('pgboss.job') where isleaf`,
    )
    expect(rows[0].leaves).toBeGreaterThan(0)
  })

  test('a partition that the engine makes later is set by the next start', async () => {
    await client.query(`create table pgboss.job_later partition of pgboss.job for values in ('later')`)
    expect(await without(['pgboss.job'])).toEqual(['pgboss.job_later'])
    await migrate(url)
    expect(await without(['pgboss.job'])).toEqual([])
  })
})

test('what completed is kept for a day by the engine, which looks every hour', async () => {
  const { rows } = await client.query(
    `select name, deletion_seconds as kept from pgboss.queue where name like 'sluice-%' order by name`,
  )
  expect(rows.map(({ name }) => name)).toEqual([...queueNames].toSorted())
  expect(new Set(rows.map(({ kept }) => kept))).toEqual(new Set([24 * 3600]))
})
