import type { Db as EngineDb, PgBoss } from 'pg-boss'
import { v7 as uuidv7 } from 'uuid'
import { engineSchema } from '../../../queue/engine-schema.ts'
import { delay, systemClock } from '../../clock.ts'
import type { DbSession } from '../../db.ts'
import { createEnvelope, type EventEnvelope, type NewEvent, withTrace } from '../../event-envelope.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import type { Logger } from '../../logger.ts'
import { ServiceNotRunningError } from '../../platform-error.ts'
import type { PubSub, SubscriptionRef } from '../../pub-sub.ts'
import { requireTopic, subscriptionSettings } from '../../subscription-settings.ts'
import type { Tracer } from '../../tracer.ts'
import { createPlatformTables } from '../../platform-schema.sql.ts'
import type { PostgresDb } from '../postgres/postgres-db.ts'
import { fromPostgresError } from '../postgres/postgres-error.ts'
import { listDeadLetters, redriveDeadLetters } from './dead-letters.ts'
import { inTransaction, keyOf } from './engine-calls.ts'
import { forgetPublished, rememberPublished } from './published-events.sql.ts'
import { ensureQueues, queuesOf } from './subscription-queues.ts'
import { type SubscriptionWorker, startSubscriptionWorker } from './subscription-worker.ts'

export interface PgBossPubSubOptions {
  readonly db: PostgresDb
  readonly logger: Logger
  readonly tracer?: Pick<Tracer, 'currentTraceparent'>
  /** Whether `start` brings the engine's tables up to date. @default true */
  readonly migrate?: boolean
  /** Milliseconds in which a second publish with the same given idempotency key is dropped. @default 86_400_000 */
  readonly deduplicationWindowMs?: number
  /** Milliseconds between looks for events that another process published; at least 500. @default 500 */
  readonly pollMs?: number
}

/** The engine takes a job away from a silent process after 10 s at the earliest; looking every 5 s keeps it near that. */
const superviseSeconds = 5

/**
 * Events as jobs of the queue engine: one queue per durable subscription, in order per key, published in the caller's
 * transaction where there is one.
 */
export function createPgBossPubSub(options: PgBossPubSubOptions): PubSub & Lifecycle {
  const { db, logger } = options
  const stopping = new AbortController()
  const workers = new Set<SubscriptionWorker>()
  let boss: PgBoss | undefined
  let upkeep: Promise<void> | undefined
  let stopped: Promise<void> | undefined

  const engine = (): PgBoss => {
    if (!boss || stopped) throw new ServiceNotRunningError('The event service is not running: call start() first')
    return boss
  }
  const wake = (topic: string) => {
    for (const worker of workers) if (worker.topic === topic) worker.wake()
  }

  return {
    capabilities: { ordering: 'key', transactionalPublish: true },
    publish: async (topic, newEvent, { tx } = {}) => {
      requireTopic(topic)
      const event = createEnvelope(withTrace(newEvent, options.tracer), Date.now)
      const post = (session: Pick<DbSession, 'query'>) => postEvent(engine(), session, { topic, event, newEvent })
      if (tx) {
        await understood(post(tx))
        tx.afterCommit(() => wake(topic))
      } else {
        // One transaction over all subscriptions: the event is stored for each of them or for none.
        await understood(db.withTx(post))
        wake(topic)
      }
      return event
    },
    subscribe: async (ref, handler, subscribeOptions) => {
      const settings = subscriptionSettings(subscribeOptions)
      await understood(ensureQueues(engine(), ref, settings))
      const pollMs = Math.max(500, options.pollMs ?? 500)
      const worker = await startSubscriptionWorker({ boss: engine(), db, logger, ref, handler, settings, pollMs })
      workers.add(worker)
      return {
        stop: async () => {
          await worker.stop()
          workers.delete(worker)
        },
      }
    },
    unsubscribe: async (ref) => understood(deleteQueues(engine(), ref)),
    deadLetters: async (ref, limit = 100) => understood(listDeadLetters(engine(), ref, limit)),
    redrive: async (ref, eventIds) => {
      const count = await understood(redriveDeadLetters(engine(), db, { ref, eventIds }))
      wake(ref.topic)
      return count
    },
    start: async () => {
      if (boss) return
      await createPlatformTables(db)
      const { PgBoss: Engine } = await import('pg-boss')
      const started = new Engine({ ...engineOptions(db), migrate: options.migrate ?? true })
      started.on('error', (error) => logger.warn('The queue engine reported an error; it keeps trying', { error }))
      await started.start()
      boss = started
      const windowMs = options.deduplicationWindowMs ?? 86_400_000
      upkeep = forgetNowAndThen(db, { windowMs, logger, signal: stopping.signal })
    },
    stop: () =>
      (stopped ??= (async () => {
        stopping.abort()
        await Promise.all([...workers].map((worker) => worker.stop()))
        await upkeep
        await boss?.stop({ graceful: false, close: false })
      })()),
  }
}

function engineOptions(db: PostgresDb) {
  const engineDb: EngineDb = { executeSql: (text, values) => db.pool.query(text, values) }
  return {
    schema: engineSchema,
    db: engineDb,
    schedule: false,
    superviseIntervalSeconds: superviseSeconds,
    monitorIntervalSeconds: superviseSeconds,
    maintenanceIntervalSeconds: 3_600,
    registerInstance: false,
  }
}

interface Posting {
  readonly topic: string
  readonly event: EventEnvelope
  readonly newEvent: NewEvent
}

async function postEvent(
  boss: PgBoss,
  tx: Pick<DbSession, 'query'>,
  { topic, event, newEvent }: Posting,
): Promise<void> {
  // A generated id cannot come twice; a given one can.
  const mayRepeat = newEvent.id !== undefined || newEvent.idempotencyKey !== undefined
  if (mayRepeat && !(await rememberPublished(tx, topic, event.idempotencykey))) return
  let failure: unknown
  const engineDb: EngineDb = {
    executeSql: async (text, values) => {
      try {
        return await inTransaction(tx).executeSql(text, values)
      } catch (error) {
        failure = error
        throw error
      }
    },
  }
  try {
    await boss.publish(topic, event, {
      // Ids that grow: jobs of one transaction have the same creation time, and the engine then orders by id.
      id: uuidv7(),
      singletonKey: keyOf(event),
      db: engineDb,
    })
  } catch (error) {
    // The engine joins the failures of all subscriptions to one text, which tells a caller nothing to act on.
    throw failure ?? error
  }
}

/** Calls of the engine outside our transactions: their errors come from the driver as they are. */
async function understood<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    throw fromPostgresError(error)
  }
}

async function deleteQueues(boss: PgBoss, ref: SubscriptionRef): Promise<void> {
  const { queue, dead } = queuesOf(ref)
  await boss.unsubscribe(ref.topic, queue)
  await boss.deleteQueue(queue)
  await boss.deleteQueue(dead)
}

interface Upkeep {
  readonly windowMs: number
  readonly logger: Logger
  readonly signal: AbortSignal
}

async function forgetNowAndThen(db: DbSession, { windowMs, logger, signal }: Upkeep): Promise<void> {
  while (await delay(systemClock, Math.min(windowMs, 600_000), signal)) {
    await forgetPublished(db, windowMs).catch((error: unknown) => {
      logger.warn('Old idempotency keys could not be removed; trying again later', { error })
    })
  }
}
