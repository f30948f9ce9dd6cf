// A process of its own that takes one event and never finishes it: the test kills it.
import { createNatsPubSub } from '../../../../src/platform/adapters/nats/nats-pub-sub.ts'
import { createPgBossPubSub } from '../../../../src/platform/adapters/pg-boss/pg-boss-pub-sub.ts'
import { createPostgresDb } from '../../../../src/platform/adapters/postgres/postgres-db.ts'
import { createRedisPubSub } from '../../../../src/platform/adapters/redis/redis-pub-sub.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'

const [kind, address = '', topic = '', name = '', maxAttempts = '5'] = process.argv.slice(2)
const logger = createMemoryLogger()

async function connect() {
  if (kind === 'redis') return createRedisPubSub({ url: address, logger })
  if (kind === 'nats') return createNatsPubSub({ servers: address, logger })
  const db = createPostgresDb({ url: address, poolMax: 5 })
  await db.start()
  return createPgBossPubSub({ db, logger })
}

const pubsub = await connect()
await pubsub.start()
await pubsub.subscribe(
  { topic, name },
  async () => {
    process.stdout.write('in hand\n')
    await new Promise(() => undefined)
  },
  { maxAttempts: Number(maxAttempts), ackTimeoutMs: 1_000 },
)
process.stdout.write('ready\n')
