import { noteDrops } from '../audit/seal.ts'
import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import { tidyInbox } from '../notifications/inbox.ts'
import type { Logger } from '../platform/logger.ts'
import type { Queue } from '../queue/queue.ts'
import type { ResultStore } from '../tasks/result-store.ts'
import type { Outcome } from './outcome.ts'
import { deleteExpiredKeys, listOverdue, makeEventPartitions, type OverdueTask } from './overdue.sql.ts'
import { dropEndedTasks, dropSealedPartition } from './retention.sql.ts'
import { cancelledOutcome, isStale, timedOut } from './run-task.ts'
import { appendEvents } from './settle.sql.ts'

export interface HousekeepingOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly logger: Logger
  readonly workerId: string
  /** Milliseconds after its deadline in which a live worker ends its own task. */
  readonly graceMs: number
  /** Days that tasks are kept after their end, and the log after its last event. */
  readonly retentionDays: number
  readonly results?: ResultStore | undefined
}

/** Ends tasks whose deadline passed while no worker was there to see it. */
export async function endOverdue(options: HousekeepingOptions): Promise<number> {
  const overdue = await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
    listOverdue(tx, options.graceMs),
  )
  let ended = 0
  for (const task of overdue) {
    const outcome = timedOut(
      'The deadline passed; the worker that ran the task did not end it. What became of the change is unknown.',
    )
    if (await endFromOutside(options, task, outcome)) ended++
  }
  return ended
}

/** Ends a task that somebody asked to cancel and that waits for its next attempt. */
export function endCancelled(
  options: HousekeepingOptions,
  task: Pick<OverdueTask, 'taskId' | 'tenant' | 'class' | 'attempt'> & { readonly cancelRequestedBy: string },
): Promise<boolean> {
  return endFromOutside(options, task, cancelledOutcome(task))
}

// Not by the attempt's own worker: the engine's claim is unknown here, so the job is cancelled whoever holds it, and
// the log fences: the event carries the attempt that was seen.
async function endFromOutside(
  options: HousekeepingOptions,
  task: Pick<OverdueTask, 'taskId' | 'tenant' | 'class' | 'attempt'>,
  outcome: Extract<Outcome, { kind: 'timed_out' | 'cancelled' }>,
): Promise<boolean> {
  try {
    await options.database.transaction({ role: 'sluice_worker' }, async (tx) => {
      await appendEvents(tx, [
        {
          task_id: task.taskId,
          tenant_id: task.tenant,
          type: `task.${outcome.kind}`,
          actor: options.workerId,
          payload: { attempt: task.attempt, error: outcome.error },
        },
      ])
      await options.queue.cancel(tx, task.class === 'short' ? 'sluice-short' : 'sluice-long', [task.taskId])
    })
  } catch (error) {
    if (isStale(error)) return false
    throw error
  }
  options.signals.send('events')
  return true
}

/** Upkeep that any worker may do at any time. */
export async function tidy(options: HousekeepingOptions): Promise<void> {
  await options.database.transaction({ role: 'sluice_worker' }, async (tx) => {
    await deleteExpiredKeys(tx)
    await makeEventPartitions(tx)
  })
  await tidyInbox(options.database)
  await retain(options)
  await options.results?.dispose(options.retentionDays)
}

const retainChunk = 500
/** What one round deletes at most: the next one comes a minute later, and nobody waits for this. */
const retainRounds = 20

/** Deletes what ended long ago: tasks a few at a time, the log by whole partitions that speak of nothing that goes on. */
export async function retain(options: HousekeepingOptions): Promise<{ tasks: number; partitions: string[] }> {
  let tasks = 0
  for (let round = 0; round < retainRounds; round++) {
    const deleted = await options.database.transaction({ role: 'sluice_retention' }, (tx) =>
      dropEndedTasks(tx, options.retentionDays, retainChunk),
    )
    tasks += deleted
    if (deleted < retainChunk) break
  }
  const partitions: string[] = []
  // Also what a process that died after a drop did not come to tell.
  await noteDrops(options.database, options.workerId)
  for (;;) {
    const dropped = await options.database.transaction({ role: 'sluice_retention' }, (tx) =>
      dropSealedPartition(tx, options.retentionDays),
    )
    if (dropped === null) return { tasks, partitions }
    options.logger.info('a sealed partition of the log was dropped', { partition: dropped })
    partitions.push(dropped)
    await noteDrops(options.database, options.workerId)
  }
}
