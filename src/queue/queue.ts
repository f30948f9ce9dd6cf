import type { Transaction } from '../database/database.ts'

/** The queues: one per class of operation, one for finish jobs, one for messages to webhooks, one for what the engine gave up on. */
export const queueNames = ['sluice-short', 'sluice-long', 'sluice-finish', 'sluice-deliver', 'sluice-dead'] as const
export type QueueName = (typeof queueNames)[number]

/** What a job carries: the id of the event that asked for the work, and nothing else (claim check). */
export interface JobPayload {
  readonly eventId: string
}

export interface NewJob {
  readonly id: string
  readonly eventId: string
  /** Not before this time; now by default. */
  readonly startAt?: Date
  /** Higher runs first. @default 0 */
  readonly priority?: number
  /** Runs that may fail or crash before the engine gives the job up. */
  readonly maxAttempts: number
  /** Milliseconds that one run may take before the engine takes the job back. @default 900_000 */
  readonly expireInMs?: number
}

/** A job as a worker holds it. `claim` grows each time the job is handed out: it fences every later call. */
export interface ClaimedJob {
  readonly id: string
  readonly eventId: string
  /** In the dead-letter queue: the job that the engine gave up on. */
  readonly sourceId?: string
  readonly claim: number
  /** Aborts when the engine no longer counts this claim as ours. */
  readonly signal: AbortSignal
}

export interface JobAttempt {
  readonly id: string
  readonly claim: number
}

export interface WorkOptions {
  /** Workers that each hold one batch; each wakes the next. */
  readonly workers: number
  /** Jobs per batch, each settled on its own. */
  readonly batchSize: number
}

/** Returns the ids of the jobs to hand out again. */
export type BatchHandler = (jobs: readonly ClaimedJob[]) => Promise<readonly string[]>

export interface WorkHandle {
  /** Looks for jobs now. Safe to call at any time, from anywhere. */
  wake(): void
  /** Takes no more jobs, and resolves when those in hand have ended. */
  stop(): Promise<void>
}

export interface QueueDepth {
  readonly queue: QueueName
  readonly ready: number
  readonly scheduled: number
  readonly active: number
}

export interface QueueGauge extends QueueDepth {
  readonly failed: number
  /** Seconds for which the oldest due job has waited; 0 when none is due. Not as of the last count, but now. */
  readonly oldestS: number
}

/**
 * The port to the queue engine. Everything that changes jobs takes the caller's transaction, so that
 * what belongs together commits together.
 */
export interface Queue {
  start(): Promise<void>
  /** Ends the engine's own upkeep. Handlers in hand must have ended before (`WorkHandle.stop`). */
  stop(): Promise<void>
  /** Inserts jobs; an id that the engine has already seen is left out. Returns the ids that are new. */
  insert(tx: Transaction, queue: QueueName, jobs: readonly NewJob[]): Promise<string[]>
  /** Settles claimed jobs. Throws `LostClaimError` unless every one of them was still ours. */
  complete(tx: Transaction, queue: QueueName, jobs: readonly JobAttempt[]): Promise<void>
  /**
   * Hands a claimed job back, to run again after `retryInMs` by the database's clock. `burn` counts this run as one of the job's attempts.
   * Throws `LostClaimError` unless it was still ours.
   */
  retry(
    tx: Transaction,
    queue: QueueName,
    job: JobAttempt,
    options: { retryInMs: number; burn: boolean },
  ): Promise<void>
  /** Hands jobs that the engine gave up on out again. */
  revive(tx: Transaction, queue: QueueName, ids: readonly string[]): Promise<void>
  /** Makes waiting jobs due now. One that runs, or has ended, stays as it is. */
  bringForward(tx: Transaction, queue: QueueName, ids: readonly string[]): Promise<void>
  /** Ends a claimed job that has used up its attempts. Throws `LostClaimError` unless it was still ours. */
  fail(tx: Transaction, queue: QueueName, job: JobAttempt): Promise<void>
  /** Cancels a claimed job. Throws `LostClaimError` unless it was still ours. */
  cancelClaimed(tx: Transaction, queue: QueueName, job: JobAttempt): Promise<void>
  /** Cancels jobs that have not ended, whoever holds them. Returns how many there were. */
  cancel(tx: Transaction, queue: QueueName, ids: readonly string[]): Promise<number>
  /**
   * Runs `handler` for batches of jobs. It settles each job itself, in a transaction, and returns the ids of those
   * that it could not settle: the engine hands them out again, as it does with a whole batch when `handler` throws.
   */
  work(queue: QueueName, options: WorkOptions, handler: BatchHandler): Promise<WorkHandle>
  /** Which of these jobs the engine has given up on (`failed`). */
  givenUp(queue: QueueName, ids: readonly string[]): Promise<string[]>
  /** How many jobs wait and run, per queue. */
  depths(): Promise<QueueDepth[]>
  /** The same as the engine last counted them, some seconds ago: cheap however long the queues are. */
  gauges(): Promise<QueueGauge[]>
}

/** The engine no longer counts these jobs as ours: somebody else settled them or runs them now. Roll back. */
export class LostClaimError extends Error {
  readonly code = 'lost_claim'
}
