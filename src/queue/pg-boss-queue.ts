import { fromKysely, type CommandResponse, type Job, type JobInsert, PgBoss } from 'pg-boss'
import { type Database, queryPrepared } from '../database/database.ts'
import {
  type BatchHandler,
  type ClaimedJob,
  type JobAttempt,
  type JobPayload,
  LostClaimError,
  type NewJob,
  type Queue,
  type QueueName,
  type WorkHandle,
  type WorkOptions,
} from './queue.ts'
import { engineSchema } from './engine-schema.ts'
import { listGivenUp, readDepths, readGauges } from './engine-status.sql.ts'

export interface PgBossQueueOptions {
  readonly database: Database
  /** Whether this process looks for jobs whose worker died, and cleans up. True in workers. */
  readonly supervise: boolean
  readonly onError: (error: Error) => void
}

/** Polling stands behind the wake-ups: it finds delayed jobs, and whatever a lost notification left. */
const pollingSeconds = 1
/** About what a start takes. The price: ten idle workers are all at work after 50 ms, where there is that much to do. */
const nextLookMs = 5
/**
 * How a dead worker's job comes to run again: the engine allows no heartbeat under 10 s, looks every 2 s for one that is
 * over, and waits 1 s before the retry, which a poll finds within another: 14 s at most. The price is a count of its jobs
 * every 2 s, 0.2 s of one core with a million kept.
 */
export const heartbeatSeconds = 10
const superviseSeconds = 2
export const engineRetrySeconds = 1

/** The queue on pg-boss, through its official API only. */
export function createPgBossQueue(options: PgBossQueueOptions): Queue {
  const { pool, unflushed } = options.database
  const boss = new PgBoss({
    schema: engineSchema,
    // What a crash of the server loses of these the engine says again. A claim too, unless its attempt was started: that
    // commit flushes the claim as well.
    db: { executeSql: (text, values) => unflushed(text, values) },
    migrate: false,
    createSchema: false,
    schedule: false,
    supervise: options.supervise,
    superviseIntervalSeconds: superviseSeconds,
    monitorIntervalSeconds: superviseSeconds,
    maintenanceIntervalSeconds: 3600,
    instanceHeartbeatSeconds: 10,
  })
  boss.on('error', options.onError)
  let stopped: Promise<void> | undefined

  return {
    start: async () => {
      await boss.start()
    },
    stop: () => (stopped ??= boss.stop({ graceful: false, close: false })),
    insert: async (tx, queue, jobs) =>
      (await boss.insert(queue, jobs.map(toJobInsert), {
        // Planned once: the statement reads the queue's row and its parameter, whatever else there is.
        db: { executeSql: (text: string, values?: unknown[]) => queryPrepared(tx, text, values ?? []) },
        returnId: true,
      })) ?? [],
    complete: async (tx, queue, jobs) => {
      assertOurs(await boss.complete(queue, jobs.map(toAttempt), null, { db: fromKysely(tx) }))
    },
    retry: async (tx, queue, job, { retryInMs, burn }) => {
      const db = fromKysely(tx)
      if (burn) {
        assertOurs(await boss.fail(queue, toAttempt(job), null, { db }))
        // The engine has counted the runs that were handed back, too, and may think that this was the last one.
        await boss.retry(queue, job.id, { db })
      } else {
        // A run that does not count leaves no copy in the dead-letter queue, as a failed one can.
        assertOurs(await boss.cancel(queue, toAttempt(job), { db }))
        await boss.resume(queue, job.id, { db })
      }
      const updated = await boss.update(queue, undefined, { id: job.id, startAfter: Math.ceil(retryInMs / 1000), db })
      if (updated.jobs.length !== 1) throw new LostClaimError(`job ${job.id} has no attempt left to hand out`)
    },
    revive: async (tx, queue, ids) => {
      await boss.retry(queue, [...ids], { db: fromKysely(tx) })
    },
    bringForward: async (tx, queue, ids) => {
      // Zero, by the database's clock: a fast clock here would leave the job in the future.
      for (const id of ids) await boss.update(queue, undefined, { id, startAfter: 0, db: fromKysely(tx) })
    },
    fail: async (tx, queue, job) => {
      assertOurs(await boss.fail(queue, toAttempt(job), null, { db: fromKysely(tx) }))
    },
    cancelClaimed: async (tx, queue, job) => {
      assertOurs(await boss.cancel(queue, toAttempt(job), { db: fromKysely(tx) }))
    },
    cancel: async (tx, queue, ids) => counts(await boss.cancel(queue, [...ids], { db: fromKysely(tx) })).affected,
    work: (queue, workOptions, handler) => startWorkers(boss, { queue, ...workOptions }, handler),
    givenUp: (queue, ids) => listGivenUp(pool, queue, ids),
    depths: () => readDepths(pool),
    gauges: () => readGauges(pool),
  }
}

async function startWorkers(
  boss: PgBoss,
  options: WorkOptions & { readonly queue: QueueName },
  handler: BatchHandler,
): Promise<WorkHandle> {
  // One `work()` per worker: notifyWorker wakes only the first of a group.
  const workers: { id: string; busy: boolean }[] = []
  // An idle worker that finds nothing sleeps again; waking one at a time keeps empty fetches few.
  const wake = () => {
    const idle = workers.find((worker) => !worker.busy)
    if (idle) boss.notifyWorker(idle.id)
  }
  let waking: NodeJS.Timeout | undefined
  const wakeNext = () => {
    waking = undefined
    wake()
  }
  for (let i = 0; i < options.workers; i++) {
    const worker = { id: '', busy: false }
    worker.id = await boss.work<JobPayload, unknown, typeof engineWorkOptions & { batchSize: number }>(
      options.queue,
      { ...engineWorkOptions, batchSize: options.batchSize },
      async (jobs) => {
        worker.busy = true
        // There may be more where this came from. Not at once: a look for nothing would compete with this start.
        waking ??= setTimeout(wakeNext, nextLookMs)
        try {
          const again = new Set(await handler(jobs.map(toClaimedJob)))
          return jobs.map((job) => ({
            id: job.id,
            status: again.has(job.id) ? ('failed' as const) : ('completed' as const),
          }))
        } finally {
          worker.busy = false
          // By itself the engine's worker sleeps after every job until its next poll.
          boss.notifyWorker(worker.id)
        }
      },
    )
    workers.push(worker)
  }
  let stopped: Promise<unknown> | undefined
  return {
    wake,
    stop: async () => {
      clearTimeout(waking)
      await (stopped ??= Promise.all(
        workers.map((worker) => boss.offWork(options.queue, { id: worker.id, wait: true })),
      ))
    },
  }
}

const engineWorkOptions = {
  pollingIntervalSeconds: pollingSeconds,
  heartbeatRefreshSeconds: 2,
  perJobResults: true,
  includeMetadata: true,
} as const

function toJobInsert(job: NewJob): JobInsert<JobPayload> {
  return {
    id: job.id,
    data: { eventId: job.eventId },
    priority: job.priority ?? 0,
    retryLimit: job.maxAttempts - 1,
    heartbeatSeconds,
    expireInSeconds: Math.ceil((job.expireInMs ?? 900_000) / 1000),
    ...(job.startAt && { startAfter: job.startAt }),
  }
}

const toAttempt = (job: JobAttempt) => ({ id: job.id, retryCount: job.claim })

function toClaimedJob(job: Job<JobPayload> & { sourceId?: string | null }): ClaimedJob {
  return {
    id: job.id,
    eventId: job.data.eventId,
    claim: job.retryCount,
    signal: job.signal,
    ...(job.sourceId && { sourceId: job.sourceId }),
  }
}

// The engine does not throw on a stale claim: it counts what it changed.
function assertOurs(response: CommandResponse): void {
  const { requested, affected, jobs } = counts(response)
  if (affected !== requested) {
    throw new LostClaimError(`${requested - affected} of ${requested} jobs are no longer ours (${jobs.join(', ')})`)
  }
}

function counts(response: CommandResponse): { jobs: string[]; requested: number; affected: number } {
  // The engine's typings declare this answer empty; its documentation and tests have these three fields.
  return response as { jobs: string[]; requested: number; affected: number }
}
