import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../test/helpers/test-database.ts'
import { startSluice } from './main.ts'
import { createMemoryCache } from './platform/memory/memory-cache.ts'
import { createMemoryLogger } from './platform/memory/memory-logger.ts'

let databaseUrl: string
let client: Client
beforeAll(async () => {
  databaseUrl = (await createTestDatabase()).url
  client = new Client({ connectionString: databaseUrl, application_name: 'the test' })
  await client.connect()
})
afterAll(() => client.end())

const connections = async (): Promise<Record<string, number>> => {
  const { rows } = await client.query<{ name: string; count: number }>(
    `select application_name as name, count(*)::int as count from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' group by 1`,
  )
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]))
}

describe('the composition root', () => {
  test('the platform services share the one pool: with it and LISTEN there is no other connection', async () => {
    const logger = createMemoryLogger()
    const sluice = await startSluice({
      databaseUrl,
      port: 0,
      poolMax: 5,
      logger,
      platform: { pubsub: { adapter: 'pg-boss' }, cache: { adapter: 'postgres' } },
    })
    // More at once than the pool has connections, through the API and beside the services' own upkeep.
    await Promise.all(Array.from({ length: 40 }, () => fetch(`${sluice.url}/readyz`)))
    const { sluice: pooled, ...others } = await connections()
    expect(pooled).toBeLessThanOrEqual(5)
    expect(others).toEqual({ 'sluice listen': 1 })
    await sluice.stop()
    await expect.poll(connections).toEqual({})
    expect(logger.lines.filter(({ level }) => level === 'error')).toEqual([])
  })

  test('starts and stops the services that it is given', async () => {
    const calls: string[] = []
    const service = {
      ...createMemoryCache(),
      start: async () => void calls.push('start'),
      stop: async () => void calls.push('stop'),
    }
    const platform = { cache: { adapter: 'own' as const, service } }
    const sluice = await startSluice({ role: 'api', databaseUrl, port: 0, logger: createMemoryLogger(), platform })
    expect(calls).toEqual(['start'])
    await sluice.stop()
    expect(calls).toEqual(['start', 'stop'])
  })

  test('a service that cannot start ends the start, and everything else with it', async () => {
    const service = {
      ...createMemoryCache(),
      start: async () => {
        throw new Error('no cache here')
      },
    }
    const platform = { cache: { adapter: 'own' as const, service } }
    const starting = startSluice({ databaseUrl, port: 0, logger: createMemoryLogger(), platform })
    await expect(starting).rejects.toThrow('no cache here')
    await expect.poll(connections).toEqual({})
  })
})
