import type { Db, DbSession } from './db.ts'

/** The schema of the tables that platform services keep. It is theirs: no other code reads or writes it. */
export const platformSchema = 'sluice_platform'

/** Publishing is part of transactions that run under these roles, where they exist. */
const publishingRoles = ['sluice_api', 'sluice_worker']

/** Makes the tables where they are missing. Processes that start together queue up. */
export async function createPlatformTables(db: Db): Promise<void> {
  const [existing] = await db.query<{ present: boolean }>(
    `select to_regclass('${platformSchema}.cache') is not null
       and to_regclass('${platformSchema}.published_events') is not null
       and to_regclass('${platformSchema}.consumed_events') is not null
       and not exists (select from pg_roles where rolname = any($1)
         and not has_table_privilege(rolname, to_regclass('${platformSchema}.published_events'), 'insert')) as present`,
    [publishingRoles],
  )
  // The usual case takes no lock and needs no right to create anything.
  if (existing?.present) return
  await db.withTx(async (tx) => {
    await tx.query(`select pg_advisory_xact_lock(hashtextextended('${platformSchema}', 0))`)
    for (const statement of statements) await tx.execute(statement)
    await grantToRoles(tx)
  })
}

const statements = [
  `create schema if not exists ${platformSchema}`,
  // Unlogged: a crash of the server empties it, which a cache may do at any time, and writes cost a fraction.
  `create unlogged table if not exists ${platformSchema}.cache (
     key text primary key, value text not null, expires_at timestamptz not null)`,
  `create index if not exists cache_expiry on ${platformSchema}.cache (expires_at)`,
  `create table if not exists ${platformSchema}.published_events (
     topic text not null, idempotency_key text not null, at timestamptz not null default now(),
     primary key (topic, idempotency_key))`,
  `create index if not exists published_events_at on ${platformSchema}.published_events (at)`,
  `create table if not exists ${platformSchema}.consumed_events (
     consumer text not null, idempotency_key text not null, at timestamptz not null default now(),
     primary key (consumer, idempotency_key))`,
  `create index if not exists consumed_events_at on ${platformSchema}.consumed_events (at)`,
]

async function grantToRoles(tx: DbSession): Promise<void> {
  const roles = await tx.query<{ name: string }>(`select rolname as name from pg_roles where rolname = any($1)`, [
    publishingRoles,
  ])
  for (const { name } of roles) {
    await tx.execute(`grant usage on schema ${platformSchema} to ${name}`)
    await tx.execute(`grant select, insert on ${platformSchema}.published_events to ${name}`)
  }
}
