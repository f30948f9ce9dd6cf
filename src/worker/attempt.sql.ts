import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** A started attempt, with what its operation needs. Times come from the database's clock. */
export interface Attempt {
  readonly taskId: string
  readonly tenant: string
  readonly operation: string
  readonly input: unknown
  readonly attempt: number
  /** Attempts that count: those handed back unburned do not. */
  readonly burned: number
  readonly maxAttempts: number
  readonly retryOf: string | undefined
  readonly cancelRequestedBy: string | undefined
  /** Milliseconds left until the deadline; negative when it has passed. */
  readonly remainingMs: number
}

export interface Claim {
  readonly task_id: string
  readonly event_id: string
  readonly claim: number
}

/**
 * Writes `task.started` for every claimed task that may start. A task that ended meanwhile, or that was claimed again,
 * is left out: whoever holds its job has nothing to do.
 */
export async function startAttempts(tx: Transaction, claims: readonly Claim[], worker: string): Promise<Attempt[]> {
  const { rows } = await sql<Attempt>`
    with claims as (
      select * from jsonb_to_recordset(${JSON.stringify(claims)}::jsonb) as (task_id uuid, event_id uuid, claim int)
    ), eligible as (
      select t.task_id, t.tenant_id, c.claim from claims c
      join sluice.tasks t on t.task_id = c.task_id and t.request_event_id = c.event_id
      where t.status in ('SCHEDULED', 'PENDING', 'RUNNING', 'RETRYING') and c.claim > t.claim
      order by t.task_id
    ), started as (
      insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
      select task_id, tenant_id, 'task.started', ${worker}, jsonb_build_object('claim', claim, 'worker', ${worker}::text)
      from eligible
      returning task_id, payload
    )
    select t.task_id as "taskId", t.tenant_id as tenant, t.operation, e.payload->'input' as input,
      (s.payload->>'attempt')::int as attempt, (s.payload->>'attempt')::int - t.handed_back as burned,
      t.max_attempts as "maxAttempts", t.retry_of as "retryOf", t.cancel_requested_by as "cancelRequestedBy",
      (extract(epoch from (s.payload->>'deadline_at')::timestamptz - clock_timestamp()) * 1000)::float8 as "remainingMs"
    from started s
    join sluice.tasks t on t.task_id = s.task_id
    join sluice.domain_events e on e.task_id = t.task_id and e.event_id = t.request_event_id`.execute(tx)
  return rows
}
