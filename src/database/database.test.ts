import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { sql } from 'kysely'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { createDatabase } from './database.ts'

const connections = 4

/** Ends every connection of the application, from another process: this one hears nothing before it is over. */
function endConnections(url: string, application: string): void {
  const program = `
    import { Client } from 'pg'
    const client = new Client(process.argv[1])
    await client.connect()
    const { rows } = await client.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = $1", [process.argv[2]])
    console.log(rows.length)
    await client.end()`
  const ended = execFileSync(process.execPath, ['--input-type=module', '--eval', program, url, application])
  expect(Number(ended)).toBe(connections)
}

describe('a server that was restarted leaves dead connections in the pool', () => {
  test('a transaction takes the next one, down to a new one, and runs', async () => {
    const { url } = await createTestDatabase()
    const database = createDatabase({ url, poolMax: connections, applicationName: 'restarted' })
    const work = () => database.transaction({ role: 'sluice_worker' }, (tx) => sql`select pg_sleep(0.05)`.execute(tx))
    await Promise.all(Array.from({ length: connections }, work))
    expect(database.pool.idleCount).toBe(connections)

    endConnections(url, 'restarted')
    await work()

    await database.stop()
  })
})
