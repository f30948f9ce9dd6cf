import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Client, type Pool } from 'pg'
import { readCatalogueIfRecorded, recordMigrated, recordUpgraded } from './catalogue.ts'

// The same folder from src/ and from dist/: the SQL files are shipped where they are written.
const folder = fileURLToPath(new URL('../../src/database/migrations/', import.meta.url))

// Any process that migrates takes this lock first, so that concurrent runs queue up.
const lockKey = 'sluice.migrate'

/** The database is too old, changed behind our back, or newer than this program. The message says which and what next. */
class MigrationError extends Error {
  readonly code = 'migration_refused'
}

interface Migration {
  readonly name: string
  readonly sql: string
  readonly checksum: string
}

async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}-[a-z0-9-]+\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(`${folder}${name}`, 'utf8')
      return { name, sql: text, checksum: createHash('sha256').update(text).digest('hex') }
    }),
  )
}

/**
 * Brings the schema `sluice` up to date, then runs `then` (the engine's own migration) under the same lock.
 * Concurrent runs wait for each other. Returns the names of the migrations that it applied.
 */
export async function runMigrations(url: string, then: (client: Client) => Promise<void>): Promise<string[]> {
  const client = new Client({
    connectionString: url,
    application_name: 'sluice migrate',
    connectionTimeoutMillis: 10_000,
  })
  // A connection that breaks rejects the query under way; without a listener Node would end the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    await refuseOldServer(client)
    await client.query('select pg_advisory_lock(hashtextextended($1, 0))', [lockKey])
    await createRoles(client)
    const applied = await applyPending(client)
    await recordUpgraded(client)
    await then(client)
    return applied
  } finally {
    await client.end()
  }
}

export interface MigrationState {
  readonly pending: readonly string[]
  /** Applied, and unknown to this program: a newer one was here. */
  readonly unknown: readonly string[]
  /** Changed after they were applied. */
  readonly changed: readonly string[]
}

/** Which migrations the database has against those that this program brings. */
export async function compareMigrations(pool: Pool): Promise<MigrationState> {
  const ours = new Map((await readMigrations()).map(({ name, checksum }) => [name, checksum]))
  const { rows } = await pool.query<{ name: string; checksum: string }>('select name, checksum from sluice.migrations')
  const theirs = new Map(rows.map(({ name, checksum }) => [name, checksum]))
  return {
    pending: [...ours.keys()].filter((name) => !theirs.has(name)),
    unknown: [...theirs.keys()].filter((name) => !ours.has(name)),
    changed: [...ours.keys()].filter((name) => theirs.has(name) && theirs.get(name) !== ours.get(name)),
  }
}

/** Names of the migrations that the database still lacks. Empty when it is up to date. */
export async function pendingMigrations(
  query: (text: string) => Promise<{ rows: { name: string }[] }>,
): Promise<string[]> {
  const all = await readMigrations()
  const { rows } = await query(`select name from sluice.migrations`).catch((error: { code?: string }) => {
    if (error.code === '42P01' || error.code === '3F000') return { rows: [] }
    throw error
  })
  const done = new Set(rows.map((row) => row.name))
  return all.map((migration) => migration.name).filter((name) => !done.has(name))
}

async function refuseOldServer(client: Client): Promise<void> {
  const { rows } = await client.query<{ server_version_num: string; server_version: string }>(
    `select current_setting('server_version_num') server_version_num, current_setting('server_version') server_version`,
  )
  const server = rows[0]
  if (server && Number(server.server_version_num) < 140_000) {
    throw new MigrationError(
      `This PostgreSQL is version ${server.server_version}; Sluice needs 14 or newer. Point DATABASE_URL at a newer server.`,
    )
  }
}

const roles = ['sluice_api', 'sluice_worker', 'sluice_feed', 'sluice_retention'] as const

/** What a database administrator runs once where the migrating user may not create roles. */
function rolesSql(login: string, unmade: readonly string[]): string {
  const user = `"${login.replaceAll('"', '""')}"`
  return [...unmade.map((role) => `create role ${role} nologin;`), `grant ${roles.join(', ')} to ${user};`].join('\n')
}

async function createRoles(client: Client): Promise<void> {
  const { rows } = await client.query<{ missing: string[]; unmade: string[]; login: string }>(
    `select current_user as login,
       array(select role from unnest($1::text[]) as role where to_regrole(role) is null) as unmade,
       array(select role from unnest($1::text[]) as role
       where not exists (select from pg_roles where rolname = role)
          or not pg_has_role(current_user, (select oid from pg_roles where rolname = role), 'member')) as missing`,
    [roles],
  )
  const { missing = [], unmade = [], login = '' } = rows[0] ?? {}
  try {
    for (const role of missing) {
      // Roles belong to the whole server: another database's migration may make the same one at this moment.
      await client.query(
        `do $$ begin create role ${role} nologin; exception when duplicate_object or unique_violation then null; end $$`,
      )
      await client.query(`grant ${role} to current_user`)
    }
  } catch (error) {
    throw new MigrationError(
      `The user "${login}" may not create the roles that Sluice needs. Have an administrator run this once, then migrate again:\n${rolesSql(login, unmade)}`,
      { cause: error },
    )
  }
}

async function applyPending(client: Client): Promise<string[]> {
  await client.query(`create schema if not exists sluice`)
  await client.query(
    `create table if not exists sluice.migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())`,
  )
  const { rows } = await client.query<{ name: string; checksum: string }>(
    `select name, checksum from sluice.migrations`,
  )
  const done = new Map(rows.map((row) => [row.name, row.checksum]))
  const migrations = await readMigrations()
  const unknown = rows.find((row) => !migrations.some((migration) => migration.name === row.name))
  if (unknown) {
    throw new MigrationError(
      `The database has the migration ${unknown.name}, which this version does not know. Run a newer Sluice.`,
    )
  }
  const applied: string[] = []
  for (const migration of migrations) {
    const checksum = done.get(migration.name)
    if (checksum === migration.checksum) continue
    if (checksum !== undefined) {
      throw new MigrationError(`The migration ${migration.name} was changed after it ran. Restore the file as it was.`)
    }
    await applyOne(client, migration)
    applied.push(migration.name)
  }
  return applied
}

async function applyOne(client: Client, migration: Migration): Promise<void> {
  await client.query('begin')
  try {
    // A table in use makes the migration fail and be tried again, never make everybody else queue behind it.
    await client.query(`set local lock_timeout = '5s'`)
    const before = await readCatalogueIfRecorded(client)
    await client.query(migration.sql)
    await recordMigrated(client, before)
    await client.query('insert into sluice.migrations (name, checksum) values ($1, $2)', [
      migration.name,
      migration.checksum,
    ])
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}
