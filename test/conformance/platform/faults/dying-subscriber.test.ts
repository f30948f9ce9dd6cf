import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, test, vi } from 'vitest'
import { createNatsPubSub } from '../../../../src/platform/adapters/nats/nats-pub-sub.ts'
import { createPgBossPubSub } from '../../../../src/platform/adapters/pg-boss/pg-boss-pub-sub.ts'
import { createPostgresDb } from '../../../../src/platform/adapters/postgres/postgres-db.ts'
import { createRedisPubSub } from '../../../../src/platform/adapters/redis/redis-pub-sub.ts'
import type { Lifecycle } from '../../../../src/platform/lifecycle.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'
import type { PubSub, SubscriptionRef } from '../../../../src/platform/pub-sub.ts'
import { createTestDatabase } from '../../../helpers/test-database.ts'
import { natsMissing, natsServers, redisMissing, redisUrl, startNats, startRedis } from '../support/servers.ts'

const logger = createMemoryLogger()

interface BackEnd {
  readonly kind: string
  readonly missing: string | false
  /** How long a dead process may stay unnoticed, in milliseconds. */
  readonly noticeMs: number
  open(): Promise<{ readonly address: string; readonly pubsub: PubSub & Lifecycle; close(): Promise<void> }>
}

const backEnds: readonly BackEnd[] = [
  {
    kind: 'pg-boss',
    missing: false,
    // The engine's smallest heartbeat is 10 s; supervision looks every 5 s.
    noticeMs: 40_000,
    open: async () => {
      const { url } = await createTestDatabase()
      const db = createPostgresDb({ url, poolMax: 5 })
      await db.start()
      return { address: url, pubsub: createPgBossPubSub({ db, logger }), close: () => db.stop() }
    },
  },
  {
    kind: 'redis',
    missing: redisMissing,
    noticeMs: 15_000,
    open: async () => {
      const server = await startRedis()
      const address = redisUrl(server)
      return { address, pubsub: createRedisPubSub({ url: address, logger }), close: () => server.stop() }
    },
  },
  {
    kind: 'nats',
    missing: natsMissing,
    noticeMs: 15_000,
    open: async () => {
      const server = await startNats()
      const address = natsServers(server)
      return { address, pubsub: createNatsPubSub({ servers: address, logger }), close: () => server.stop() }
    },
  },
]

describe.each(backEnds)('$kind: a subscriber is killed with an event in hand', ({ kind, missing, noticeMs, open }) => {
  test('another process gets the event, counted as its second delivery', async (context) => {
    if (missing !== false) return context.skip(missing)
    await withBackEnd(open, async (pubsub, address) => {
      const ref = { topic: 'doomed', name: 'shared' }
      await killWithEventInHand({ kind, address, ref, maxAttempts: 5 }, pubsub)
      const attempts: number[] = []
      const handler = async (_: unknown, { attempt }: { attempt: number }) => void attempts.push(attempt)
      const subscription = await pubsub.subscribe(ref, handler, { ackTimeoutMs: 1_000, backoffMinMs: 50 })
      await vi.waitUntil(() => attempts.length > 0, { timeout: noticeMs, interval: 10 })
      await subscription.stop()
      expect(attempts).toEqual([2])
    })
  }, 90_000)

  test('an event that kills its last process becomes a dead letter and does not block its key', async (context) => {
    if (missing !== false) return context.skip(missing)
    await withBackEnd(open, async (pubsub, address) => {
      const ref = { topic: 'doomed', name: 'poisoned' }
      await killWithEventInHand({ kind, address, ref, maxAttempts: 1 }, pubsub)
      await pubsub.publish(ref.topic, { type: 'next', source: '/faults', data: 'next', key: 'k' })
      const handled: unknown[] = []
      const handler = async ({ data }: { data: unknown }) => void handled.push(data)
      const options = { maxAttempts: 1, ackTimeoutMs: 1_000 }
      const subscription = await pubsub.subscribe(ref, handler, options)
      await vi.waitUntil(() => handled.length > 0, { timeout: noticeMs, interval: 10 })
      const letters = () => pubsub.deadLetters(ref)
      await vi.waitUntil(async () => (await letters()).length > 0, { timeout: noticeMs, interval: 10 })
      await subscription.stop()
      expect(handled).toEqual(['next'])
      expect((await letters()).map(({ event, attempts }) => [event.data, attempts])).toEqual([['poison', 1]])
    })
  }, 90_000)
})

async function withBackEnd(
  open: BackEnd['open'],
  use: (pubsub: PubSub, address: string) => Promise<void>,
): Promise<void> {
  const { pubsub, address, close } = await open()
  try {
    await pubsub.start()
    await use(pubsub, address)
  } finally {
    await pubsub.stop()
    await close()
  }
}

interface Doom {
  readonly kind: string
  readonly address: string
  readonly ref: SubscriptionRef
  readonly maxAttempts: number
}

async function killWithEventInHand({ kind, address, ref, maxAttempts }: Doom, pubsub: PubSub): Promise<void> {
  const program = fileURLToPath(new URL('../support/doomed-subscriber.ts', import.meta.url))
  const child = spawn(process.execPath, [program, kind, address, ref.topic, ref.name, String(maxAttempts)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  await lineOf(child, 'ready')
  const inHand = lineOf(child, 'in hand')
  await pubsub.publish(ref.topic, { type: 'poison', source: '/faults', data: 'poison', key: 'k' })
  await inHand
  child.kill('SIGKILL')
  await exited
}

async function lineOf({ stdout }: ChildProcess, wanted: string): Promise<void> {
  if (!stdout) throw new Error('its output is not piped')
  for await (const line of createInterface({ input: stdout })) if (line === wanted) return
  throw new Error(`it ended without saying "${wanted}"`)
}
