import type { JobResult, JobWithMetadata, PgBoss } from 'pg-boss'
import { delay, systemClock } from '../../clock.ts'
import type { Db } from '../../db.ts'
import { deliverEvent } from '../../deliver-event.ts'
import { type EventEnvelope, eventEnvelopeSchema } from '../../event-envelope.ts'
import type { Logger } from '../../logger.ts'
import type { EventHandler, SubscriptionRef } from '../../pub-sub.ts'
import { backoffMs, describeError, type SubscriptionSettings } from '../../subscription-settings.ts'
import type { DeadLetterData } from './dead-letters.ts'
import { inTransaction, isOne } from './engine-calls.ts'
import { timeAfter } from './published-events.sql.ts'
import { queuesOf } from './subscription-queues.ts'

export interface SubscriptionWorkerOptions {
  readonly boss: PgBoss
  readonly db: Db
  readonly logger: Logger
  readonly ref: SubscriptionRef
  readonly handler: EventHandler
  readonly settings: SubscriptionSettings
  readonly pollMs: number
}

export interface SubscriptionWorker {
  readonly topic: string
  /** Looks for events now. */
  wake(): void
  stop(): Promise<void>
}

/** Milliseconds between looks for keys that the engine has blocked. */
const unblockMs = 5_000

/** Consumes one subscription with as many engine workers as events may be in hand at once. */
export async function startSubscriptionWorker(options: SubscriptionWorkerOptions): Promise<SubscriptionWorker> {
  const { boss, ref, settings } = options
  const { queue } = queuesOf(ref)
  const stopping = new AbortController()
  const ids: string[] = []
  const wake = () => {
    for (const id of ids) boss.notifyWorker(id)
  }
  for (let i = 0; i < settings.concurrency; i++) {
    const own = { id: '' }
    own.id = await boss.work<EventEnvelope, unknown, typeof workOptions & { pollingIntervalSeconds: number }>(
      queue,
      { ...workOptions, pollingIntervalSeconds: options.pollMs / 1_000 },
      async (jobs) => {
        try {
          return await Promise.all(jobs.map((job) => settle(options, job, stopping.signal)))
        } finally {
          // By itself the engine's worker sleeps after every job, and the next event of this key waits for this one.
          boss.notifyWorker(own.id)
        }
      },
    )
    ids.push(own.id)
  }
  const unblocking = unblockNowAndThen(options, queue, { wake, signal: stopping.signal })
  let stopped: Promise<unknown> | undefined
  return {
    topic: ref.topic,
    wake,
    stop: async () => {
      stopping.abort()
      await (stopped ??= Promise.all([unblocking, ...ids.map((id) => boss.offWork(queue, { id, wait: true }))]))
    },
  }
}

const workOptions = { perJobResults: true, includeMetadata: true, batchSize: 1 } as const

async function settle(
  options: SubscriptionWorkerOptions,
  job: JobWithMetadata<EventEnvelope>,
  stopping: AbortSignal,
): Promise<JobResult> {
  const { handler, settings, logger, ref } = options
  const attempt = job.retryCount + 1
  const outcome = await deliverEvent((delivery) => handler(eventEnvelopeSchema.parse(job.data), delivery), {
    attempt,
    timeoutMs: settings.timeoutMs,
    signal: AbortSignal.any([job.signal, stopping]),
    clock: systemClock,
  })
  if (!outcome.ok) {
    const { error } = outcome
    const last = attempt >= settings.maxAttempts || job.retryCount >= job.retryLimit
    logger.warn(last ? 'An event became a dead letter' : 'An event could not be handled and will be delivered again', {
      ...ref,
      attempt,
      eventId: job.data.id,
      error,
    })
    await (last ? moveToDeadLetters(options, job, describeError(error)) : putBack(options, job, describeError(error)))
  }
  // After a failure the job is settled already, and this result finds no active job of this attempt to change.
  return { id: job.id, status: 'completed' }
}

async function putBack(options: SubscriptionWorkerOptions, job: JobWithMetadata, error: string): Promise<void> {
  const { boss, db, ref, settings } = options
  const { queue } = queuesOf(ref)
  await db.withTx(async (tx) => {
    const engineDb = inTransaction(tx)
    const failed = await boss.fail(queue, { id: job.id, retryCount: job.retryCount }, { error }, { db: engineDb })
    // The engine gave this attempt up and somebody else has the event: it is theirs to settle.
    if (!isOne(failed)) return
    const startAfter = await timeAfter(tx, backoffMs(job.retryCount + 1, settings))
    await boss.update(queue, undefined, { id: job.id, startAfter, db: engineDb })
  })
}

// In one transaction and not by the engine's own dead-lettering: that leaves the failed job where it was, where it
// would block its key for ever.
async function moveToDeadLetters(
  options: SubscriptionWorkerOptions,
  job: JobWithMetadata,
  error: string,
): Promise<void> {
  const { boss, db, ref } = options
  const { queue, dead } = queuesOf(ref)
  await db.withTx(async (tx) => {
    const engineDb = inTransaction(tx)
    const attempt = { id: job.id, retryCount: job.retryCount }
    if (!isOne(await boss.deleteJob(queue, attempt, { db: engineDb }))) return
    const data: DeadLetterData = { event: eventEnvelopeSchema.parse(job.data), attempts: job.retryCount + 1, error }
    await boss.insert(dead, [{ data }], { db: engineDb })
  })
}

interface Unblocking {
  readonly wake: () => void
  readonly signal: AbortSignal
}

// A process that died on its last attempt leaves the failed job to the engine: that one has copied it to the dead
// letters, and the original must go, or nothing of its key is ever delivered again.
async function unblockNowAndThen(
  { boss, logger, ref }: SubscriptionWorkerOptions,
  queue: string,
  { wake, signal }: Unblocking,
): Promise<void> {
  while (await delay(systemClock, unblockMs, signal)) {
    try {
      for (const key of await boss.getBlockedKeys(queue)) {
        const failed = (await boss.findJobs(queue, { key })).filter((job) => job.state === 'failed')
        await boss.deleteJob(
          queue,
          failed.map((job) => job.id),
        )
        logger.warn('An event became a dead letter after its process died', { ...ref, key })
        wake()
      }
    } catch (error) {
      logger.warn('Blocked keys could not be freed; trying again later', { ...ref, error })
    }
  }
}
