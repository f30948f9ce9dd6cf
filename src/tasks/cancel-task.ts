import { lockTicket } from '../approvals/ticket.sql.ts'
import type { TaskStatus } from '../contract/task-status.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Queue } from '../queue/queue.ts'
import { appendEvent } from './append-event.sql.ts'
import { selectTask } from './find-tasks.sql.ts'
import { hasMoved, MovedMeanwhileError } from './moved-meanwhile.ts'
import type { TaskRow } from './task-view.ts'
import { closeOrRenew } from './ticket-rest.ts'

export interface CancelTaskOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
}

export interface CancelRequest {
  readonly tenant: string
  readonly taskId: string
  readonly actor: string
}

export type Cancelled =
  | { readonly kind: 'cancelled'; readonly task: TaskRow; readonly message: string }
  | { readonly kind: 'requested'; readonly task: TaskRow; readonly message: string }
  /** It ended otherwise: nothing to cancel. */
  | { readonly kind: 'ended'; readonly task: TaskRow }

/**
 * Cancels a task that waits for a worker at once; asks the worker of one that runs or waits. Undefined when the tenant
 * has no such task. Asking again changes nothing.
 */
export async function cancelTask(options: CancelTaskOptions, request: CancelRequest): Promise<Cancelled | undefined> {
  for (let tries = 0; ; tries++) {
    try {
      const cancelled = await options.database.transaction({ role: 'sluice_api', tenant: request.tenant }, (tx) =>
        cancelOnce(options, tx, request),
      )
      if (cancelled?.kind === 'cancelled') options.signals.send('events')
      if (cancelled?.kind === 'requested') options.signals.send('events', 'cancel')
      return cancelled
    } catch (error) {
      // It moved on between the look and the event: look again.
      if (!hasMoved(error) || tries >= 5) throw error
    }
  }
}

type Ask = 'cancel now' | 'ask the worker' | 'already ended'

const ask = {
  AWAITING_APPROVAL: 'cancel now',
  SCHEDULED: 'cancel now',
  PENDING: 'cancel now',
  RUNNING: 'ask the worker',
  WAITING: 'ask the worker',
  RETRYING: 'ask the worker',
  COMPLETED: 'already ended',
  FAILED: 'already ended',
  TIMED_OUT: 'already ended',
  CANCELLED: 'already ended',
  REJECTED: 'already ended',
  EXPIRED: 'already ended',
} as const satisfies Record<TaskStatus, Ask>

async function cancelOnce(
  options: CancelTaskOptions,
  tx: Transaction,
  { tenant, taskId, actor }: CancelRequest,
): Promise<Cancelled | undefined> {
  const read = () => selectTask(tx, tenant, taskId)
  const task = await read()
  if (!task) return undefined
  switch (ask[task.status]) {
    case 'already ended':
      return task.status === 'CANCELLED'
        ? { kind: 'cancelled', task, message: 'The task was already cancelled.' }
        : { kind: 'ended', task }
    case 'cancel now': {
      // The ticket before the task, as everybody who decides does.
      const ticket = task.ticket_id === null ? undefined : await lockTicket(tx, task.ticket_id)
      // Policy may have put it under another ticket of its batch since the look.
      if (ticket && (await read())?.ticket_id !== ticket.ticket_id) throw new MovedMeanwhileError()
      await appendEvent(tx, { taskId, type: 'task.cancelled', actor, data: { error: cancelledBy(actor) } })
      if (ticket?.state === 'open') await closeOrRenew(tx, ticket, { state: 'cancelled', by: actor })
      await options.queue.cancel(tx, task.class === 'short' ? 'sluice-short' : 'sluice-long', [taskId])
      return {
        kind: 'cancelled',
        task: (await read()) ?? task,
        message: 'Cancelled before it started: nothing was changed.',
      }
    }
    case 'ask the worker': {
      if (task.cancel_requested_by === null) {
        await appendEvent(tx, { taskId, type: 'task.cancel_requested', actor, data: {} })
      }
      return { kind: 'requested', task: (await read()) ?? task, message: whatRemains(task) }
    }
  }
}

function whatRemains(task: TaskRow): string {
  const { waiting_for } = task
  return waiting_for
    ? `Cancelling. ${waiting_for.kind} ${waiting_for.name} was already asked for in cluster ${waiting_for.cluster}, which goes on with it.`
    : 'Cancelling. What the operation has already asked of others cannot be undone here.'
}

/** Why a task that never started ended. */
export function cancelledBy(actor: string) {
  return {
    type: 'https://sluice.dev/errors/cancelled',
    title: 'Cancelled',
    status: 409,
    detail: `Cancelled by ${actor} before it started.`,
    code: 'cancelled',
    retryable: false,
  }
}
