import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createPgBossPubSub } from '../../../../src/platform/adapters/pg-boss/pg-boss-pub-sub.ts'
import { createPostgresCache } from '../../../../src/platform/adapters/postgres/postgres-cache.ts'
import { createPostgresDb } from '../../../../src/platform/adapters/postgres/postgres-db.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'
import { ServiceUnavailableError } from '../../../../src/platform/platform-error.ts'
import { until } from '../../../helpers/until.ts'
import { startPostgres } from '../support/embedded-server.ts'
import { surviveAKill } from '../support/survive-a-kill.ts'

const logger = createMemoryLogger()

describe('postgres, killed and restarted in mid-work', () => {
  let server: Awaited<ReturnType<typeof startPostgres>>
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterAll(() => server.stop())

  test('database: an open transaction is undone with a clear error, and the pool reconnects', async () => {
    const db = createPostgresDb({ url: server.url, poolMax: 3 })
    await db.start()
    try {
      await db.execute('create table kept (n int primary key)')
      await db.withTx((tx) => tx.execute('insert into kept values (1)'))
      const cutShort = db.withTx(async (tx) => {
        await tx.execute('insert into kept values (2)')
        await server.kill()
        await until(async () => {
          await tx.query('select 1')
          return false
        })
      })
      await expect(cutShort).rejects.toThrow(ServiceUnavailableError)
      await until(() =>
        db.query('select 1').then(
          () => false,
          () => true,
        ),
      )
      await expect(db.query('select 1')).rejects.toMatchObject({ code: 'service_unavailable', service: 'database' })
      await expect(db.withTx((tx) => tx.query('select 1'))).rejects.toThrow(ServiceUnavailableError)
      await server.restart()
      await expect(db.query('select n from kept')).resolves.toEqual([{ n: 1 }])
    } finally {
      await db.stop()
    }
  }, 60_000)

  test('cache: getOrSet loads while the server is away', async () => {
    const db = createPostgresDb({ url: server.url, poolMax: 3 })
    const cache = createPostgresCache({ db, logger })
    await db.start()
    await cache.start()
    try {
      await cache.set('k', 'before', { ttlMs: 60_000 })
      await server.kill()
      // Its back ends notice a moment later that their server is gone.
      const failure = () =>
        cache.get('k').then(
          () => undefined,
          (error: unknown) => error,
        )
      await until(async () => (await failure()) !== undefined)
      await expect(failure()).resolves.toBeInstanceOf(ServiceUnavailableError)
      await expect(cache.getOrSet('k', async () => 'loaded', { ttlMs: 60_000 })).resolves.toBe('loaded')
      await server.restart()
      // An unlogged table is emptied by a crash, which a cache may do.
      await until(async () => (await cache.get('k').catch(() => 'away')) === undefined)
    } finally {
      await cache.stop()
      await db.stop()
    }
  }, 60_000)

  test('events: none is lost, errors are clear, and work goes on', async () => {
    const db = createPostgresDb({ url: server.url, poolMax: 10 })
    const pubsub = createPgBossPubSub({ db, logger })
    await db.start()
    await pubsub.start()
    try {
      await surviveAKill(pubsub, server)
    } finally {
      await pubsub.stop()
      await db.stop()
    }
  }, 120_000)
})
