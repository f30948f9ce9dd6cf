import { sql } from 'kysely'
import type { BulkFilter } from '../contract/task-list.ts'
import type { TaskStatus } from '../contract/task-status.ts'
import type { Transaction } from '../database/database.ts'
import { sourceField } from '../database/request-source.ts'
import { filtered } from './find-tasks.sql.ts'
import { retryableStatuses } from './retry-task.ts'

interface Selection {
  readonly tenant: string
  readonly filter: BulkFilter
  /** Only tasks that this principal asked for. */
  readonly onlyOf?: string
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
  return matching(tx, selection).where('status', 'in', cancellable).where('cancel_requested_by', 'is', null)
}

/** Those that failed, and that were not tried again before. */
export function retryableTasks(tx: Transaction, selection: Selection) {
  return matching(tx, selection)
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

/** Ends tasks that have not started. The database refuses all of them (SL001) when one of them has. */
export async function appendCancelled(
  tx: Transaction,
  taskIds: readonly string[],
  event: { readonly actor: string; readonly data: Record<string, unknown> },
): Promise<void> {
  const data = JSON.stringify({ ...event.data, ...sourceField() })
  await sql`select sluice.append_event(id, 'task.cancelled', ${event.actor}, ${data}::jsonb)
    from unnest(${taskIds}::uuid[]) as id`.execute(tx)
}

function matching(tx: Transaction, { tenant, filter, onlyOf }: Selection) {
  return filtered(tx, tenant, filter).$if(onlyOf !== undefined, (q) => q.where('requested_by', '=', onlyOf ?? ''))
}
