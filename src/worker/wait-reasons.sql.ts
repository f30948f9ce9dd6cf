import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

export interface WaitReason {
  readonly task_id: string
  readonly attempt: number
  readonly reason: string
}

/** Says of tasks that still wait what for, unless they say it already: another worker may have been first. */
export async function noteReasons(tx: Transaction, reasons: readonly WaitReason[], worker: string): Promise<number> {
  // A statement of its own: the next one then sees what the worker before us wrote.
  await sql`select pg_advisory_xact_lock(hashtextextended('sluice.wait_reasons', 0))`.execute(tx)
  const { numAffectedRows } = await sql`
    insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
    select t.task_id, t.tenant_id, 'task.progress', ${worker}, jsonb_build_object('attempt', t.attempt, 'reason', x.reason)
    from jsonb_to_recordset(${JSON.stringify(reasons)}::jsonb) as x (task_id uuid, attempt int, reason text)
    join sluice.tasks t on t.task_id = x.task_id
    where t.status = 'WAITING' and t.attempt = x.attempt and t.waiting_for->>'reason' is distinct from x.reason
    order by t.task_id`.execute(tx)
  return Number(numAffectedRows ?? 0)
}
