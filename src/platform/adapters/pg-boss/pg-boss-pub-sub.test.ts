import { CompiledQuery } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../../../test/helpers/test-database.ts'
import { createDatabase, type Database, type Transaction } from '../../../database/database.ts'
import type { Row } from '../../db.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import { createMemoryLogger } from '../../memory/memory-logger.ts'
import type { PublishOptions, PubSub } from '../../pub-sub.ts'
import { createPostgresDb } from '../postgres/postgres-db.ts'
import { createPgBossPubSub } from './pg-boss-pub-sub.ts'

/** The query builder's transaction, as `publish` takes it. */
function publishIn(tx: Transaction): PublishOptions {
  return {
    tx: {
      // The row's type is the caller's claim about its own SQL.
      query: async <T extends Row>(sql: string, params: readonly unknown[] = []) =>
        (await tx.executeQuery(CompiledQuery.raw(sql, [...params]))).rows as T[],
      afterCommit: () => undefined,
    },
  }
}

describe('pubsub: pg-boss, on the pool of the program', () => {
  let database: Database
  let pubsub: PubSub & Lifecycle
  beforeAll(async () => {
    const { url } = await createTestDatabase()
    database = createDatabase({ url, poolMax: 10 })
    const db = createPostgresDb({ pool: database.pool })
    await db.start()
    pubsub = createPgBossPubSub({ db, logger: createMemoryLogger(), migrate: false })
    await pubsub.start()
  })
  afterAll(async () => {
    await pubsub.stop()
    await database.stop()
  })

  const event = (data: unknown, key?: string) => ({ type: 'x', source: '/t', data, ...(key !== undefined && { key }) })

  test('publishes within a transaction of the API and of the worker, under their roles', async () => {
    const ref = { topic: 'roles', name: 's' }
    const received: unknown[] = []
    const subscription = await pubsub.subscribe(ref, async ({ data }) => void received.push(data))
    for (const role of ['sluice_api', 'sluice_worker'] as const) {
      const publish = (fail: boolean) =>
        database.transaction({ role, tenant: 'acme' }, async (tx) => {
          const idempotencyKey = `${role} ${fail}`
          await pubsub.publish(ref.topic, { ...event(idempotencyKey), idempotencyKey }, publishIn(tx))
          if (fail) throw new Error('undo')
        })
      await expect(publish(true)).rejects.toThrow('undo')
      await publish(false)
    }
    await expect
      .poll(() => received.map(String).sort(), { timeout: 5_000 })
      .toEqual(['sluice_api false', 'sluice_worker false'])
    await subscription.stop()
  })

  test('a failing event holds back its own key and nobody else', async () => {
    const ref = { topic: 'keys', name: 's' }
    const handled: unknown[] = []
    const handler = async ({ data }: { data: unknown }) => {
      if (data === 'stuck') throw new Error('not now')
      handled.push(data)
    }
    const subscription = await pubsub.subscribe(ref, handler, { backoffMinMs: 60_000, concurrency: 2 })
    await pubsub.publish(ref.topic, event('stuck', 'a'))
    await pubsub.publish(ref.topic, event('behind it', 'a'))
    for (let n = 0; n < 5; n++) await pubsub.publish(ref.topic, event(n, 'b'))
    await expect.poll(() => handled, { timeout: 5_000 }).toEqual([0, 1, 2, 3, 4])
    await subscription.stop()
  })

  test('a backlog of one key is drained without a pause between events', async () => {
    const ref = { topic: 'backlog', name: 's' }
    await (await pubsub.subscribe(ref, async () => undefined)).stop()
    for (let n = 0; n < 50; n++) await pubsub.publish(ref.topic, event(n, 'k'))
    const seen: unknown[] = []
    const startedAt = performance.now()
    const subscription = await pubsub.subscribe(ref, async ({ data }) => void seen.push(data))
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(50)
    // With the engine's own sleep after every job this would take 25 s.
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    expect(seen).toEqual(Array.from({ length: 50 }, (_, n) => n))
    await subscription.stop()
  })

  test('a pool that was given is left open', async () => {
    const db = createPostgresDb({ pool: database.pool })
    await db.start()
    await db.stop()
    await expect(db.query('select 1')).rejects.toMatchObject({ code: 'service_not_running' })
    await expect(database.pool.query('select 1')).resolves.toMatchObject({ rowCount: 1 })
  })
})
