import type { TaskStatus } from '../contract/task-status.ts'
import { isTerminal } from '../contract/task-status.ts'
import type { Database } from '../database/database.ts'
import type { TaskRow } from './task-view.ts'
import { type Explanation, selectExplanations } from './why-waiting.sql.ts'

/** Explains every task of a page that has not ended, in one query that reads at most a thousand rows of the queue. */
export async function explainTasks(
  database: Database,
  tenant: string,
  tasks: readonly TaskRow[],
): Promise<ReadonlyMap<string, Explanation>> {
  const ids = tasks.filter(({ status }) => !isTerminal(status)).map(({ task_id }) => task_id)
  if (ids.length === 0) return new Map()
  const rows = await database.transaction({ role: 'sluice_api', tenant }, (tx) => selectExplanations(tx, ids))
  return new Map(rows.map((row) => [row.taskId, row]))
}

/** Why a task is not done yet, as a sentence for people; null when it runs, or has ended. */
export function whyWaiting(row: TaskRow, explanation?: Explanation): string | null {
  return sentences[row.status](row, explanation)
}

const sentences = {
  AWAITING_APPROVAL: () => 'Waiting for an approval.',
  SCHEDULED: (row, explanation) => {
    const due = row.start_at !== null && row.start_at.getTime() <= Date.now()
    if (explanation?.reason || due) return queued(row, explanation && { ...explanation, position: null })
    return `Scheduled to start at ${row.start_at?.toISOString() ?? 'a later time'}.`
  },
  PENDING: (row, explanation) => queued(row, explanation),
  RUNNING: (row) =>
    row.cancel_requested_by !== null
      ? `Cancelling, as ${row.cancel_requested_by} asked; the operation is ending.`
      : null,
  WAITING: (row) => {
    if (row.cancel_requested_by !== null) return `Cancelling, as ${row.cancel_requested_by} asked.`
    const { kind, name, reason } = row.waiting_for ?? { kind: 'the object', name: '', reason: null }
    const sentence = `Waiting for ${kind} ${name} to be ready, until ${row.deadline_at?.toISOString() ?? 'its deadline'}.`
    return reason ? `${sentence} ${/[.!?…]$/.test(reason) ? reason : `${reason}.`}` : sentence
  },
  RETRYING: (row, explanation) => {
    if (explanation?.reason) return heldBack(row, explanation)
    if (explanation?.workersAlive === 0) return noWorker
    return nextRetry(row)
  },
  COMPLETED: () => null,
  FAILED: () => null,
  TIMED_OUT: () => null,
  CANCELLED: () => null,
  REJECTED: () => null,
  EXPIRED: () => null,
} as const satisfies Record<TaskStatus, (row: TaskRow, explanation?: Explanation) => string | null>

const noWorker = 'No worker is alive: it starts as soon as one is. See `sluice workers`.'

function queued(row: TaskRow, explanation: Explanation | undefined): string {
  if (explanation?.reason) return heldBack(row, explanation)
  // Also before a worker has met the pause.
  if (explanation?.pausedBy) return paused(row, explanation.pausedBy)
  if (explanation?.workersAlive === 0) return noWorker
  if (explanation?.workersKnow === false)
    return `No worker that is alive offers ${row.operation}: it starts when one does.`
  if (explanation === undefined || row.status !== 'PENDING') return 'Queued: a worker takes it as soon as one is free.'
  if (explanation.position === 1) return 'Next in the queue: a worker takes it as soon as one is free.'
  const ahead = explanation.position === null ? 'more than a thousand' : String(explanation.position - 1)
  return `Queued, with ${ahead} ahead: a worker takes it when one is free.`
}

function paused(row: TaskRow, by: string): string {
  return `Paused by ${by}: it starts when ${row.operation} is resumed for tenant ${row.tenant_id}.`
}

function heldBack(row: TaskRow, explanation: Explanation): string {
  const { reason, scope, key, until, maxRunning } = explanation
  const at = until?.toISOString() ?? 'soon'
  switch (reason) {
    case 'paused':
      return explanation.pausedBy ? paused(row, explanation.pausedBy) : 'Resumed: it goes on at once.'
    case 'limit':
      return `The ${scope} ${key} runs ${maxRunning ?? 'as many as it may'} tasks at once, which is its limit: it starts when one of them ends.`
    case 'rate':
      return `The ${scope} ${key} starts only so many tasks per minute: this one's turn is at ${at}.`
    case 'cluster':
      return `Cluster ${key} has not answered lately and is left alone until ${at}.`
    case 'batch':
      return maxRunning === null
        ? 'An item of its batch failed, and the rest is being cancelled.'
        : `Its batch runs ${maxRunning} items at once: it starts when one of them ends.`
    case null:
      return queued(row, undefined)
  }
}

function nextRetry(row: TaskRow): string {
  const detail = row.error?.['detail']
  const why = typeof detail === 'string' ? `: ${detail}` : '.'
  const at = row.next_attempt_at?.toISOString() ?? 'once'
  // Handed back: no attempt failed.
  if (row.attempt - row.handed_back === 0) return `The next attempt starts at ${at}${why}`
  return `Attempt ${row.attempt - row.handed_back} of ${row.max_attempts} failed; the next one starts at ${at}${why}`
}
