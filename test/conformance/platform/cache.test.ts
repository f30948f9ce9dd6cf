import { createLruCache } from '../../../src/platform/adapters/lru/lru-cache.ts'
import { createPostgresCache } from '../../../src/platform/adapters/postgres/postgres-cache.ts'
import { createPostgresDb } from '../../../src/platform/adapters/postgres/postgres-db.ts'
import { createRedisCache } from '../../../src/platform/adapters/redis/redis-cache.ts'
import { createMemoryCache } from '../../../src/platform/memory/memory-cache.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { cacheConformance } from '../../../src/testing/platform-conformance.ts'
import { createTestDatabase } from '../../helpers/test-database.ts'
import { describeSuite } from './support/describe-suite.ts'
import { redisMissing, redisUrl, startRedis } from './support/servers.ts'

const nothing = async () => undefined

describeSuite('cache: memory', cacheConformance, async () => ({
  subject: { cache: createMemoryCache() },
  stop: nothing,
}))

describeSuite('cache: lru', cacheConformance, async () => ({ subject: { cache: createLruCache() }, stop: nothing }))

describeSuite('cache: postgres', cacheConformance, async () => {
  const { url } = await createTestDatabase()
  const db = createPostgresDb({ url, poolMax: 5 })
  const cache = createPostgresCache({ db })
  await db.start()
  await cache.start()
  const stop = async () => {
    await cache.stop()
    await db.stop()
  }
  return { subject: { cache }, stop }
})

describeSuite(
  'cache: redis',
  cacheConformance,
  async () => {
    const server = await startRedis()
    const cache = createRedisCache({ url: redisUrl(server), logger: createMemoryLogger() })
    await cache.start()
    const stop = async () => {
      await cache.stop()
      await server.stop()
    }
    return { subject: { cache }, stop }
  },
  { skip: redisMissing },
)
