import { toWireId } from '../contract/ids.ts'
import { problemSchema } from '../contract/problem.ts'
import type { Task } from '../contract/task.ts'
import { isTerminal } from '../contract/task-status.ts'
import type { TasksTable } from '../database/tables.ts'
import type { Selectable } from 'kysely'
import { whyWaiting } from './why-waiting.ts'

export type TaskRow = Selectable<TasksTable> & {
  /** Where it was asked for (`traceIdColumn`). */
  readonly trace_id?: string | null
}

export const basePath = '/api/v1'

export function taskLinks(taskUuid: string): Task['links'] {
  const self = `${basePath}/tasks/${toWireId('task', taskUuid)}`
  return { self, cancel: `${self}/cancel`, events: `${self}/events` }
}

/** The ticket of a task has the task's UUID. */
export const ticketLink = (ticketUuid: string): string => `${basePath}/approvals/${toWireId('ticket', ticketUuid)}`

/** A row of the projection as it travels. `why`: why it waits, where somebody knows more than its row tells. */
export function toTask(row: TaskRow, why: string | null = whyWaiting(row)): Task {
  const done = isTerminal(row.status)
  return {
    task_id: toWireId('task', row.task_id),
    operation: row.operation,
    target: row.target,
    status: row.status,
    done,
    dead_lettered: row.dead_lettered,
    tenant: row.tenant_id,
    requested_by: row.requested_by,
    joined_by: row.joined_by,
    labels: row.labels,
    batch_id: row.batch_id && toWireId('batch', row.batch_id),
    retry_of: row.retry_of && toWireId('task', row.retry_of),
    schedule_id: row.schedule_id && toWireId('schedule', row.schedule_id),
    ticket: row.ticket_id && toWireId('ticket', row.ticket_id),
    progress: row.progress,
    attempt: row.attempt - row.handed_back,
    max_attempts: row.max_attempts,
    next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
    deadline_at: row.deadline_at?.toISOString() ?? null,
    waiting_for: row.waiting_for,
    why_waiting: why,
    result: done ? row.result : null,
    // While the task goes on, the last attempt's error explains the wait; it is not the outcome.
    error: done && row.error ? problemSchema.parse(row.error) : null,
    created_at: row.created_at.toISOString(),
    started_at: row.started_at?.toISOString() ?? null,
    completed_at: row.completed_at?.toISOString() ?? null,
    trace_id: row.trace_id ?? null,
    links: {
      ...taskLinks(row.task_id),
      ...(row.status === 'COMPLETED' && { result: `${taskLinks(row.task_id).self}/result` }),
      ...(row.ticket_id && { ticket: ticketLink(row.ticket_id) }),
    },
  }
}
