import { randomUUID } from 'node:crypto'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { startSluice } from '../../src/main.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { migrate } from '../../src/queue/migrate.ts'

const names: string[] = []
let administrator: Client
beforeAll(async () => {
  administrator = new Client({ connectionString: inject('postgresUrl') })
  await administrator.connect()
})
afterAll(async () => {
  for (const name of names) await administrator.query(`drop database if exists ${name} with (force)`)
  await administrator.end()
})

async function createEmptyDatabase(): Promise<string> {
  const name = `sluice_empty_${randomUUID().replaceAll('-', '')}`
  names.push(name)
  await administrator.query(`create database ${name}`)
  const url = new URL(inject('postgresUrl'))
  url.pathname = `/${name}`
  return url.href
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A server that listens on TCP has such an address.
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

test('concurrent migrations queue up behind one lock: one does the work, and /readyz says so meanwhile', async () => {
  const databaseUrl = await createEmptyDatabase()
  const first = new Client({ connectionString: databaseUrl })
  await first.connect()
  await first.query(`select pg_advisory_lock(hashtextextended('sluice.migrate', 0))`)

  const port = await freePort()
  const starting = startSluice({ databaseUrl, role: 'api', port, poolMax: 5, logger: createMemoryLogger() })
  const runs = [migrate(databaseUrl), migrate(databaseUrl), migrate(databaseUrl)]
  const ready = () => fetch(`http://127.0.0.1:${port}/readyz`)
  await expect.poll(ready, { timeout: 20_000 }).toMatchObject({ status: 503 })
  expect(await (await ready()).json()).toMatchObject({
    reasons: [
      expect.stringMatching(/^The database is being migrated \(\d+ to go, first 0001-log-and-projection\.sql\)/),
    ],
  })
  // All four stand in the queue before anyone may go.
  const queued = `select count(*)::int as count from pg_locks where locktype = 'advisory' and not granted
    and database = (select oid from pg_database where datname = current_database())`
  await expect.poll(async () => (await first.query(queued)).rows, { timeout: 20_000 }).toEqual([{ count: 4 }])
  await first.end()

  const applied = await Promise.all(runs)
  const sluice = await starting
  expect(applied.filter((list) => list.length > 0).length).toBeLessThanOrEqual(1)
  expect((await ready()).status).toBe(200)
  expect(await migrate(databaseUrl)).toEqual([])
  await sluice.stop()
}, 60_000)

test('a server older than 14 is refused with its version and what to do, and nothing is written', async () => {
  const databaseUrl = await createEmptyDatabase()
  const client = new Client({ connectionString: databaseUrl })
  await client.connect()
  // None so old runs here, so this one says that it is.
  await client.query(`create schema older`)
  await client.query(`create function older.current_setting(name text) returns text language sql as $$
    select case name when 'server_version_num' then '130014' else '13.14' end $$`)
  await client.query(`alter database ${new URL(databaseUrl).pathname.slice(1)} set search_path = older, pg_catalog`)

  await expect(migrate(databaseUrl)).rejects.toThrow(
    'This PostgreSQL is version 13.14; Sluice needs 14 or newer. Point DATABASE_URL at a newer server.',
  )
  expect((await client.query(`select from pg_namespace where nspname = 'sluice'`)).rowCount).toBe(0)
  await client.end()
})
