import { sql } from 'kysely'
import type { BulkFilter } from '../contract/task-list.ts'
import { retryableStatuses, type TaskStatus } from '../contract/task-status.ts'
import type { Transaction } from '../database/database.ts'
import { filtered } from './find-tasks.sql.ts'

interface Selection {
  readonly tenant: string
  readonly filter: BulkFilter
  readonly reach?: Reach
}

/** Only what this principal asked for, and what changes something in these environments. */
export interface Reach {
  readonly of: string
  readonly environments: readonly string[]
}

const cancellable: readonly TaskStatus[] = [
  'AWAITING_APPROVAL',
  'SCHEDULED',
  'PENDING',
  'RUNNING',
  'WAITING',
  'RETRYING',
]

/** Those that have not ended, and that nobody has asked to end. */
export function cancellableTasks(tx: Transaction, selection: Selection) {
  return reachableTasks(tx, selection).where('status', 'in', cancellable).where('cancel_requested_by', 'is', null)
}

/** Those that failed, and that were not tried again before. */
export function retryableTasks(tx: Transaction, selection: Selection) {
  return reachableTasks(tx, selection)
    .where('status', 'in', retryableStatuses)
    .where(sql<boolean>`not exists (select from sluice.tasks again where again.retry_of = tasks.task_id)`)
}

export async function countTasks(query: ReturnType<typeof filtered>): Promise<number> {
  const { n } = await query
    .clearSelect()
    .select((eb) => eb.fn.countAll<string>().as('n'))
    .executeTakeFirstOrThrow()
  return Number(n)
}

// Where it is as it was known when it was asked for; what nobody knows is nobody's.
export function reachableTasks(tx: Transaction, { tenant, filter, reach }: Selection) {
  return filtered(tx, tenant, filter).$if(reach !== undefined, (q) =>
    q.where(sql<boolean>`(tasks.requested_by = ${reach?.of ?? ''} or exists (select from sluice.domain_events e
      where e.task_id = tasks.task_id and e.event_id = tasks.request_event_id
        and e.payload->>'environment' = any(${reach?.environments ?? []}::text[])))`),
  )
}
