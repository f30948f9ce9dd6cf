import { createHash, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { afterAll, inject } from 'vitest'
import { migrate } from '../../src/queue/migrate.ts'

export interface TestDatabase {
  readonly url: string
  readonly name: string
  /**
   * Removes the database. Called for every test file at its end.
   * @throws when connections to it are still open: the test, or what it tests, leaks a pool
   */
  drop(): Promise<void>
}

/** Closing a pool returns before the server has noticed; what is open after this is a leak. */
const leakDeadlineMs = 3_000

const open = new Set<TestDatabase>()

// Registered on import, so it runs after the hooks of the file itself, where it stops what it started.
afterAll(async () => {
  const leaks = (await Promise.allSettled([...open].map((database) => database.drop()))).filter(isRejected)
  if (leaks[0] !== undefined) throw leaks[0].reason
})

function isRejected(result: PromiseSettledResult<unknown>): result is PromiseRejectedResult {
  return result.status === 'rejected'
}

/** An empty, migrated database of its own: a copy of a template, made in about 50 ms. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const template = await ensureTemplate()
  const name = `sluice_test_${randomUUID().replaceAll('-', '')}`
  await withAdministrator(async (client) => {
    await client.query(`create database ${name} template ${template} ${await chooseStrategy(client)}`)
  })
  const database: TestDatabase = {
    name,
    url: databaseUrl(name),
    async drop() {
      if (!open.delete(database)) return
      await withAdministrator((client) => dropDatabase(client, name))
    },
  }
  open.add(database)
  return database
}

/** Copying files takes 45 ms where writing the log takes 120, but it begins with a checkpoint: only cheap without fsync. */
async function chooseStrategy(client: Client): Promise<string> {
  const { rows } = await client.query<{ cheap: boolean }>(
    `select current_setting('fsync') = 'off' and current_setting('server_version_num')::int >= 150000 as cheap`,
  )
  return rows[0]?.cheap === true ? 'strategy file_copy' : ''
}

async function dropDatabase(client: Client, name: string): Promise<void> {
  const deadline = performance.now() + leakDeadlineMs
  let left = await listConnections(client, name)
  while (left.length > 0 && performance.now() < deadline) {
    await delay(20)
    left = await listConnections(client, name)
  }
  await client.query(`drop database if exists ${name} with (force)`)
  if (left.length > 0) {
    throw new Error(`${left.length} connections to the test database were left open:\n${left.join('\n')}`)
  }
}

async function listConnections(client: Client, name: string): Promise<string[]> {
  const { rows } = await client.query<{ line: string }>(
    `select format('%s, %s, last query: %s', coalesce(nullif(application_name, ''), 'no application_name'), state, left(query, 200)) as line
       from pg_stat_activity where datname = $1 and backend_type = 'client backend'`,
    [name],
  )
  return rows.map((row) => row.line)
}

let template: Promise<string> | undefined

function ensureTemplate(): Promise<string> {
  template ??= makeTemplate()
  return template
}

/** Made once per server and state of the migrations, by whichever test file comes first; the others wait for it. */
async function makeTemplate(): Promise<string> {
  const name = `sluice_template_${await hashMigrations()}`
  await withAdministrator(async (client) => {
    await client.query('select pg_advisory_lock(hashtextextended($1, 0))', [name])
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 1) return
    const unfinished = `${name}_unfinished`
    await client.query(`drop database if exists ${unfinished} with (force)`)
    await client.query(`create database ${unfinished}`)
    await migrate(databaseUrl(unfinished))
    await client.query(`alter database ${unfinished} rename to ${name}`)
  })
  return name
}

/** The SQL files, the code that runs them, and the engine that adds its own. */
async function hashMigrations(): Promise<string> {
  const paths: string[] = []
  for (const [folder, ending] of [
    ['../../src/database/migrations/', '.sql'],
    ['../../src/database/', 'migrations.ts'],
    ['../../src/queue/', '.ts'],
  ] as const) {
    const path = fileURLToPath(new URL(folder, import.meta.url))
    const names = (await readdir(path)).filter((name) => name.endsWith(ending) && !name.endsWith('.test.ts'))
    paths.push(...names.sort().map((name) => path + name))
  }
  const engine = fileURLToPath(new URL('../../node_modules/pg-boss/package.json', import.meta.url))
  const hash = createHash('sha256')
  for (const path of [...paths, engine]) hash.update(await readFile(path))
  return hash.digest('hex').slice(0, 16)
}

async function withAdministrator<Result>(use: (client: Client) => Promise<Result>): Promise<Result> {
  const client = new Client({ connectionString: inject('postgresUrl'), application_name: 'sluice test harness' })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

function databaseUrl(name: string): string {
  const url = new URL(inject('postgresUrl'))
  url.pathname = `/${name}`
  return url.href
}
