import { createNatsPubSub } from '../../../src/platform/adapters/nats/nats-pub-sub.ts'
import { createPgBossPubSub } from '../../../src/platform/adapters/pg-boss/pg-boss-pub-sub.ts'
import { createPostgresDb } from '../../../src/platform/adapters/postgres/postgres-db.ts'
import { createRedisPubSub } from '../../../src/platform/adapters/redis/redis-pub-sub.ts'
import type { Db } from '../../../src/platform/db.ts'
import type { Lifecycle } from '../../../src/platform/lifecycle.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { createMemoryPubSub } from '../../../src/platform/memory/memory-pub-sub.ts'
import { createPgliteDb } from '../../../src/platform/memory/pglite-db.ts'
import type { PubSub } from '../../../src/platform/pub-sub.ts'
import { pubSubConformance } from '../../../src/testing/platform-conformance.ts'
import { createTestDatabase } from '../../helpers/test-database.ts'
import { describeSuite } from './support/describe-suite.ts'
import { natsMissing, natsServers, redisMissing, redisUrl, startNats, startRedis } from './support/servers.ts'

const logger = createMemoryLogger()

/** Two connections to one back end, as two processes have them. */
async function pair(create: () => PubSub & Lifecycle, after: () => Promise<void>, db?: Db) {
  const [pubsub, other] = [create(), create()]
  await pubsub.start()
  await other.start()
  const stop = async () => {
    await pubsub.stop()
    await other.stop()
    await after()
  }
  return { subject: { pubsub, other, ...(db && { db }) }, stop }
}

describeSuite('pubsub: memory', pubSubConformance, async () => {
  const db = createPgliteDb()
  const pubsub = createMemoryPubSub()
  const stop = async () => {
    await pubsub.stop()
    await db.stop()
  }
  return { subject: { pubsub, other: pubsub, db }, stop }
})

describeSuite('pubsub: pg-boss', pubSubConformance, async () => {
  const { url } = await createTestDatabase()
  const db = createPostgresDb({ url, poolMax: 20 })
  await db.start()
  return pair(
    () => createPgBossPubSub({ db, logger }),
    () => db.stop(),
    db,
  )
})

describeSuite(
  'pubsub: redis',
  pubSubConformance,
  async () => {
    const server = await startRedis()
    return pair(
      () => createRedisPubSub({ url: redisUrl(server), logger }),
      () => server.stop(),
    )
  },
  { skip: redisMissing },
)

describeSuite(
  'pubsub: nats',
  pubSubConformance,
  async () => {
    const server = await startNats()
    return pair(
      () => createNatsPubSub({ servers: natsServers(server), logger }),
      () => server.stop(),
    )
  },
  { skip: natsMissing },
)
