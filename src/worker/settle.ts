import { v7 as uuidv7 } from 'uuid'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { ResourceRecord } from '../operations/define-operation.ts'
import type { JobAttempt, Queue, QueueName } from '../queue/queue.ts'
import { isStored } from '../tasks/result-store.ts'
import { settleResult } from '../tasks/stored-results.sql.ts'
import { tracedProblem } from './failure.ts'
import { noteCluster } from './holds.sql.ts'
import type { Outcome } from './outcome.ts'
import { writeRecords } from './record.sql.ts'
import { appendEvents, insertWait } from './settle.sql.ts'

/** The attempt whose outcome is written: the log fences it by `attempt`, the engine by `job.claim`. */
export interface SettledAttempt {
  readonly taskId: string
  readonly tenant: string
  readonly attempt: number
  readonly queue: QueueName
  readonly job: JobAttempt
  /** Key of the cluster that the task works on, where it names one. */
  readonly cluster?: string | null
  /** W3C trace context of the attempt: a wait hands it to its finish. */
  readonly traceparent?: string
}

export interface Settler {
  /**
   * Writes the outcome event, the record, and the fate of the job, in one transaction. Throws `LostClaimError`, or the
   * database's SL001/SL002, when the attempt is no longer ours: then nothing was written.
   */
  settle(attempt: SettledAttempt, outcome: Outcome): Promise<void>
}

export interface SettlerOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  /** Who writes: shown as the event's actor. */
  readonly workerId: string
}

export function createSettler(options: SettlerOptions): Settler {
  const { database, queue, signals } = options
  return {
    settle: async (attempt, outcome) => {
      await database.transaction({ role: 'sluice_worker' }, async (tx) => {
        const eventId = uuidv7()
        const [event] = await appendEvents(tx, [
          {
            event_id: eventId,
            task_id: attempt.taskId,
            tenant_id: attempt.tenant,
            type: `task.${outcome.kind}`,
            actor: options.workerId,
            payload: { attempt: attempt.attempt, ...eventData(outcome, attempt.traceparent) },
          },
        ])
        if (outcome.kind === 'waiting') {
          await park(tx, queue, { attempt, wait: outcome.wait, eventId, park: Number(event?.payload['park']) })
        }
        if (outcome.kind === 'completed') await settleStored(tx, attempt, outcome.result)
        const record = recordOf(outcome)
        if (record) await writeRecords(tx, [{ tenant: attempt.tenant, taskId: attempt.taskId, record }])
        await settleJob(tx, queue, { attempt, outcome })
        await tellBreaker(tx, attempt, outcome)
      })
      signals.send('events')
      if (outcome.kind === 'waiting') signals.send('waits')
      if (outcome.kind === 'retrying' && outcome.retryInMs <= 0) signals.send(signalOf(attempt.queue))
    },
  }
}

/** What was stored for the attempt becomes the task's result, when its outcome says so. */
export async function settleStored(
  tx: Transaction,
  { taskId, attempt }: Pick<SettledAttempt, 'taskId' | 'attempt'>,
  result: Record<string, unknown>,
): Promise<void> {
  if (isStored(result)) await settleResult(tx, { taskId, attempt, ...result.$stored })
}

// Only what an attempt saw of its cluster counts: a permanent error is the cluster's answer, so it is there.
async function tellBreaker(tx: Transaction, { cluster }: SettledAttempt, outcome: Outcome): Promise<void> {
  if (!cluster) return
  if (outcome.kind === 'retrying' && outcome.targetUnavailable === true)
    await noteCluster(tx, cluster, { ok: false, message: outcome.error.detail })
  else if (outcome.kind === 'completed' || outcome.kind === 'waiting')
    await noteCluster(tx, cluster, { ok: true, message: null })
}

// The status table's engine column: the same transaction tells the engine the same story.
async function settleJob(
  tx: Transaction,
  queue: Queue,
  { attempt, outcome }: { attempt: SettledAttempt; outcome: Outcome },
): Promise<void> {
  switch (outcome.kind) {
    case 'completed':
    case 'waiting':
      return queue.complete(tx, attempt.queue, [attempt.job])
    case 'retrying':
      return queue.retry(tx, attempt.queue, attempt.job, { retryInMs: outcome.retryInMs, burn: outcome.burned })
    case 'failed':
      // The engine's `fail` means retry while it counts attempts left.
      return outcome.deadLettered
        ? queue.fail(tx, attempt.queue, attempt.job)
        : queue.cancelClaimed(tx, attempt.queue, attempt.job)
    case 'timed_out':
    case 'cancelled':
      return queue.cancelClaimed(tx, attempt.queue, attempt.job)
  }
}

interface Park {
  readonly attempt: SettledAttempt
  readonly wait: Extract<Outcome, { kind: 'waiting' }>['wait']
  readonly eventId: string
  readonly park: number
}

async function park(tx: Transaction, queue: Queue, { attempt, wait, eventId, park }: Park): Promise<void> {
  const { taskId, tenant, traceparent = null } = attempt
  const deadline = await insertWait(tx, { eventId, taskId, tenant, attempt: attempt.attempt, park, wait, traceparent })
  await queue.insert(tx, 'sluice-finish', [finishJob(eventId, deadline)])
}

/** Finish jobs retry for as long as the deadline allows: the database or the cluster may be away. */
export const finishJobAttempts = 1000

/** The job that ends a wait at its deadline. Its id is the waiting event's, so that each parking has its own. */
export function finishJob(eventId: string, deadline: Date) {
  return { id: eventId, eventId, startAt: deadline, maxAttempts: finishJobAttempts, expireInMs: 120_000 }
}

function eventData(outcome: Outcome, traceparent: string | undefined): Record<string, unknown> {
  switch (outcome.kind) {
    case 'completed':
      return { result: outcome.result }
    case 'waiting': {
      const { cluster, ref } = outcome.wait
      return {
        waiting_for: { cluster, kind: ref.kind, namespace: ref.namespace ?? null, name: ref.name, reason: null },
      }
    }
    case 'retrying':
      return {
        error: tracedProblem(outcome.error, traceparent),
        burned: outcome.burned,
        retry_in_ms: outcome.retryInMs,
      }
    case 'failed':
      return { error: tracedProblem(outcome.error, traceparent), dead_lettered: outcome.deadLettered }
    case 'timed_out':
    case 'cancelled':
      return { error: tracedProblem(outcome.error, traceparent) }
  }
}

function recordOf(outcome: Outcome): ResourceRecord | undefined {
  if (outcome.kind === 'completed') return outcome.record
  if (outcome.kind !== 'waiting') return undefined
  const { cluster, ref, basePath, uid, generation } = outcome.wait
  return { cluster, ref, basePath, uid, generation, state: 'present', conditions: [] }
}

function signalOf(queue: QueueName) {
  switch (queue) {
    case 'sluice-short':
      return 'short'
    case 'sluice-long':
      return 'long'
    case 'sluice-finish':
      return 'finish'
    case 'sluice-deliver':
      return 'deliver'
    case 'sluice-dead':
      return 'dead'
  }
}
