import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { Wait } from '../operations/define-operation.ts'

export interface NewEvent {
  readonly event_id?: string
  readonly task_id: string
  readonly tenant_id: string
  readonly type: string
  readonly actor: string
  readonly payload: Record<string, unknown>
}

/**
 * Appends events as the worker, in task order. The database refuses the whole call (SL001, SL002) when one of them
 * is not a legal move or comes from a stale attempt.
 */
export async function appendEvents(
  tx: Transaction,
  events: readonly NewEvent[],
): Promise<{ task_id: string; payload: Record<string, unknown> }[]> {
  const { rows } = await sql<{ task_id: string; payload: Record<string, unknown> }>`
    insert into sluice.domain_events (event_id, task_id, tenant_id, type, actor, payload)
    select coalesce(event_id, gen_random_uuid()), task_id, tenant_id, type, actor, payload
    from jsonb_to_recordset(${JSON.stringify(events)}::jsonb)
      as (event_id uuid, task_id uuid, tenant_id text, type text, actor text, payload jsonb)
    order by task_id
    returning task_id, payload`.execute(tx)
  return rows
}

export interface ParkedWait {
  readonly eventId: string
  readonly taskId: string
  readonly tenant: string
  readonly attempt: number
  readonly park: number
  readonly wait: Wait
  readonly traceparent: string | null
}

/** Parks a task, and returns its deadline: when the finish job runs if nothing is seen before. */
export async function insertWait(tx: Transaction, parked: ParkedWait): Promise<Date> {
  const { wait } = parked
  const { rows } = await sql<{ deadline_at: Date }>`
    insert into sluice.waits (task_id, tenant_id, attempt, park, event_id, cluster, api_version, kind, namespace, name,
      base_path, uid, generation, resource_version, rules, deadline_at, traceparent)
    select ${parked.taskId}::uuid, ${parked.tenant}, ${parked.attempt}::int, ${parked.park}::int, ${parked.eventId}::uuid,
      ${wait.cluster}, ${wait.ref.apiVersion}, ${wait.ref.kind}, ${wait.ref.namespace ?? null}::text, ${wait.ref.name},
      ${wait.basePath ?? ''}, 
      ${wait.uid ?? null}::text, ${wait.generation ?? null}::bigint,
      ${wait.resourceVersion ?? null}::text, ${JSON.stringify(wait.rules)}::jsonb, deadline_at,
      ${parked.traceparent}::text
    from sluice.tasks where task_id = ${parked.taskId}::uuid
    on conflict (task_id) do update set park = excluded.park, event_id = excluded.event_id, attempt = excluded.attempt,
      traceparent = excluded.traceparent, created_at = clock_timestamp()
    returning deadline_at`.execute(tx)
  const deadline = rows[0]?.deadline_at
  if (!deadline) throw new Error(`task ${parked.taskId} is gone`)
  return deadline
}

export async function deleteWaits(tx: Transaction, taskIds: readonly string[]): Promise<void> {
  await sql`delete from sluice.waits where task_id = any(${taskIds}::uuid[])`.execute(tx)
}
