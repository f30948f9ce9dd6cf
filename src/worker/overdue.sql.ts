import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

export interface OverdueTask {
  readonly taskId: string
  readonly tenant: string
  readonly class: 'short' | 'long'
  readonly status: 'RUNNING' | 'RETRYING'
  readonly attempt: number
}

/**
 * Tasks whose deadline passed `graceMs` ago and whose worker did not end them: it died, or no worker was alive.
 * WAITING ones have a finish job due at their deadline.
 */
export async function listOverdue(tx: Transaction, graceMs: number): Promise<OverdueTask[]> {
  const { rows } = await sql<OverdueTask>`
    select task_id as "taskId", tenant_id as tenant, class, status, attempt from sluice.tasks
    where status in ('RUNNING', 'RETRYING') and deadline_at < now()
      and (status = 'RETRYING' or deadline_at < now() - make_interval(secs => ${graceMs / 1000}::float8))
    order by deadline_at limit 500`.execute(tx)
  return rows
}

export interface CancellingTask {
  readonly taskId: string
  readonly tenant: string
  readonly class: 'short' | 'long'
  readonly status: 'RUNNING' | 'WAITING' | 'RETRYING'
  readonly attempt: number
  readonly cancelRequestedBy: string
  /** Of the wait, where the task is WAITING. */
  readonly eventId: string | null
}

/** Tasks that somebody asked to cancel and that have not ended yet: those that run here, and those that run nowhere. */
export async function listCancelling(tx: Transaction, runningHere: readonly string[]): Promise<CancellingTask[]> {
  const { rows } = await sql<CancellingTask>`
    select t.task_id as "taskId", t.tenant_id as tenant, t.class, t.status, t.attempt,
      t.cancel_requested_by as "cancelRequestedBy", w.event_id as "eventId"
    from sluice.tasks t left join sluice.waits w on w.task_id = t.task_id
    where t.cancel_requested_by is not null and not t.done
      and (t.status <> 'RUNNING' or t.task_id = any(${runningHere}::uuid[])) limit 1000`.execute(tx)
  return rows
}

export async function deleteExpiredKeys(tx: Transaction): Promise<void> {
  await sql`delete from sluice.idempotency_keys where ctid = any(array(
    select ctid from sluice.idempotency_keys where expires_at < now() limit 1000))`.execute(tx)
}

export async function makeEventPartitions(tx: Transaction): Promise<void> {
  await sql`select sluice.make_event_partitions(3)`.execute(tx)
}
