import { lockTicket } from '../approvals/ticket.sql.ts'
import { toWireId } from '../contract/ids.ts'
import type { BulkFilter } from '../contract/task-list.ts'
import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import { RefusedError } from '../operations/define-operation.ts'
import type { Queue } from '../queue/queue.ts'
import { cancelledBy, cancelTask } from './cancel-task.ts'
import { cancellableTasks, countTasks, type Reach, reachableTasks, retryableTasks } from './act-on-many.sql.ts'
import { hasMoved, MovedMeanwhileError } from './moved-meanwhile.ts'
import { openRequests, type RetryRequest, type RetryTaskOptions, toRetry } from './retry-task.ts'
import type { TaskRow } from './task-view.ts'
import { appendToEach, holdsAll } from './ticket-items.sql.ts'
import { closeOrRenew } from './ticket-rest.ts'

export interface ManyRequest extends Omit<RetryRequest, 'taskId'> {
  readonly filter: BulkFilter
  /** @default every task of the tenant */
  readonly reach?: Reach
  readonly dryRun?: boolean
}

export interface ManyResult {
  readonly matched: number
  readonly done: number
  readonly refused: readonly { readonly taskId: string; readonly code: string; readonly detail: string }[]
}

export interface CancelManyOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
}

const chunk = 500

/** Whether the task is one of those. */
export async function isWithin(
  database: Database,
  { reach, tenant, taskId }: { readonly reach: Reach; readonly tenant: string; readonly taskId: string },
): Promise<boolean> {
  const selection = { tenant, filter: { task_ids: [toWireId('task', taskId)] }, reach }
  return database.transaction(
    { role: 'sluice_api', tenant },
    async (tx) => (await countTasks(reachableTasks(tx, selection))) > 0,
  )
}

/**
 * Cancels every task that matches and has not ended: a few hundred per transaction, so that nothing waits for long. The
 * newest first: workers take the oldest, and a group of which one has started meanwhile goes one by one.
 */
export async function cancelMany(options: CancelManyOptions, request: ManyRequest): Promise<ManyResult> {
  const { database } = options
  const { tenant, actor } = request
  const matched = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    countTasks(cancellableTasks(tx, request)),
  )
  if (request.dryRun === true) return { matched, done: 0, refused: [] }
  let done = 0
  for (let before = ''; ;) {
    const page = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
      cancellableTasks(tx, request)
        .$if(before !== '', (q) => q.where('task_id', '<', before))
        .orderBy('task_id', 'desc')
        .limit(chunk)
        .execute(),
    )
    if (page.length === 0) return { matched, done, refused: [] }
    before = page.at(-1)?.task_id ?? before
    const together = new Set<TaskRow>()
    for (const group of groupsToCancel(page)) {
      if (await cancelGroup(options, { ...group, tenant, actor })) for (const task of group.tasks) together.add(task)
    }
    done += together.size
    for (const task of page.filter((one) => !together.has(one))) {
      const cancelled = await cancelTask(options, { tenant, actor, taskId: task.task_id })
      if (cancelled && cancelled.kind !== 'ended') done++
    }
  }
}

interface CancelGroup {
  /** What holds all of them, where it is a ticket. */
  readonly ticketId: string | undefined
  readonly tasks: readonly TaskRow[]
}

// Queued ones together, and those that share a ticket; what has a ticket of its own, or has started, goes one by one.
function groupsToCancel(page: readonly TaskRow[]): CancelGroup[] {
  const queued = page.filter(({ status }) => status === 'SCHEDULED' || status === 'PENDING')
  const sharing = page.filter((one) => one.status === 'AWAITING_APPROVAL' && one.ticket_id !== one.task_id)
  const byTicket = Map.groupBy(sharing, ({ ticket_id }) => ticket_id)
  return [
    { ticketId: undefined, tasks: queued },
    ...[...byTicket].map(([ticketId, tasks]) => ({ ticketId: ticketId ?? undefined, tasks })),
  ].filter(({ tasks }) => tasks.length > 0)
}

/** False when one of them moved on meanwhile: then none was cancelled. */
async function cancelGroup(
  options: CancelManyOptions,
  { ticketId, tasks, tenant, actor }: CancelGroup & { readonly tenant: string; readonly actor: string },
): Promise<boolean> {
  try {
    await options.database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
      const taskIds = tasks.map(({ task_id }) => task_id)
      const ticket = ticketId === undefined ? undefined : await lockTicket(tx, ticketId)
      if (ticket && !(await holdsAll(tx, ticket, taskIds))) throw new MovedMeanwhileError()
      await appendToEach(tx, { type: 'task.cancelled', actor, data: { error: cancelledBy(actor) }, tasks })
      if (ticket?.state === 'open') await closeOrRenew(tx, ticket, { state: 'cancelled', by: actor })
      // Also of those that an approval has released since the look.
      for (const kind of ['short', 'long'] as const) {
        const ids = tasks.filter((task) => task.class === kind).map(({ task_id }) => task_id)
        if (ids.length > 0) await options.queue.cancel(tx, `sluice-${kind}`, ids)
      }
    })
    options.signals.send('events')
    return true
  } catch (error) {
    if (hasMoved(error)) return false
    throw error
  }
}

/**
 * Tries every task again that matches, failed, and was not tried again before: each a new task. What is refused does not
 * keep the others back.
 */
export async function retryMany(options: RetryTaskOptions, request: ManyRequest): Promise<ManyResult> {
  const { database, acceptor, operations } = options
  const { tenant } = request
  const matched = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    countTasks(retryableTasks(tx, request)),
  )
  const refused: { taskId: string; code: string; detail: string }[] = []
  if (request.dryRun === true) return { matched, done: 0, refused }
  let done = 0
  for (let after = ''; ;) {
    const found = await database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
      const page = await retryableTasks(tx, request)
        .$if(after !== '', (q) => q.where('task_id', '>', after))
        .orderBy('task_id')
        .limit(chunk)
        .execute()
      return page.length === 0 ? [] : openRequests(tx, options, { tenant, taskIds: page.map(({ task_id }) => task_id) })
    })
    if (found.length === 0) return { matched, done, refused: refused.slice(0, 100) }
    after = found.at(-1)?.task.task_id ?? after
    const accept = async (one: (typeof found)[number]) => {
      const accepted = await acceptor.accept(toRetry(operations, one, request))
      if (accepted.outcome === 'accepted') return
      if (accepted.reason !== undefined)
        throw new RefusedError(accepted.reason, { status: 422, code: accepted.outcome })
      const detail = `Another task is ${accepted.status} on the same: ${toWireId('task', accepted.taskId)}.`
      throw new RefusedError(detail, { status: 409, code: 'conflict' })
    }
    const results = await Promise.allSettled(found.map(accept))
    results.forEach((result, i) => {
      if (result.status === 'fulfilled') done++
      else if (result.reason instanceof RefusedError)
        refused.push({ taskId: found[i]?.task.task_id ?? '', code: result.reason.code, detail: result.reason.message })
      else throw result.reason
    })
  }
}
