import { Client } from 'pg'
import { describe, expect, inject, test } from 'vitest'
import { createTestDatabase } from './test-database.ts'

describe('a test database', () => {
  test('is migrated, and a copy of its own', async () => {
    const [first, second] = [await createTestDatabase(), await createTestDatabase()]
    expect(first.name).not.toBe(second.name)
    const client = new Client({ connectionString: first.url })
    await client.connect()
    const { rowCount } = await client.query(
      `select from pg_tables where schemaname = 'sluice' and tablename = 'migrations'`,
    )
    await client.end()
    expect(rowCount).toBe(1)
  })

  test('reports a connection that is left open, and is gone all the same', async () => {
    const database = await createTestDatabase()
    const leaked = new Client({ connectionString: database.url, application_name: 'the leak' })
    leaked.on('error', () => undefined)
    await leaked.connect()
    await expect(database.drop()).rejects.toThrow(/1 connections .* left open:\nthe leak, idle/)
    const administrator = new Client({ connectionString: inject('postgresUrl') })
    await administrator.connect()
    const { rowCount } = await administrator.query('select from pg_database where datname = $1', [database.name])
    await administrator.end()
    expect(rowCount).toBe(0)
    await expect(database.drop()).resolves.toBeUndefined()
  })
})
