import type { TaskStatus } from '../contract/task-status.ts'
import type { TaskRow } from './task-view.ts'

const sentences = {
  AWAITING_APPROVAL: () => 'Waiting for an approval.',
  SCHEDULED: (row) => `Scheduled to start at ${row.start_at?.toISOString() ?? 'a later time'}.`,
  PENDING: () => 'Queued: a worker takes it as soon as one is free.',
  RUNNING: (row) =>
    row.cancel_requested_by !== null
      ? `Cancelling, as ${row.cancel_requested_by} asked; the operation is ending.`
      : null,
  WAITING: (row) => {
    if (row.cancel_requested_by !== null) return `Cancelling, as ${row.cancel_requested_by} asked.`
    const { kind, name, reason } = row.waiting_for ?? { kind: 'the object', name: '', reason: null }
    return `Waiting for ${kind} ${name} to be ready${reason ? ` (${reason})` : ''}, until ${row.deadline_at?.toISOString() ?? 'its deadline'}.`
  },
  RETRYING: (row) => {
    const detail = row.error?.['detail']
    const why = typeof detail === 'string' ? `: ${detail}` : '.'
    return `Attempt ${row.attempt - row.handed_back} of ${row.max_attempts} failed; the next one starts at ${row.next_attempt_at?.toISOString() ?? 'once'}${why}`
  },
  COMPLETED: () => null,
  FAILED: () => null,
  TIMED_OUT: () => null,
  CANCELLED: () => null,
  REJECTED: () => null,
  EXPIRED: () => null,
} as const satisfies Record<TaskStatus, (row: TaskRow) => string | null>

/** Why a task is not done yet, as a sentence for people; null when it runs, or has ended. */
export function whyWaiting(row: TaskRow): string | null {
  return sentences[row.status](row)
}
