import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { ReadinessRules } from '../kubernetes/readiness.ts'

/** A parked task, as the watch and the finish job see it. */
export interface OpenWait {
  readonly taskId: string
  readonly tenant: string
  readonly eventId: string
  readonly attempt: number
  readonly park: number
  readonly cluster: string
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string | null
  readonly name: string
  readonly basePath: string
  readonly uid: string | null
  readonly generation: number | null
  readonly resourceVersion: string | null
  readonly rules: ReadinessRules
  readonly createdAt: Date
  /** W3C trace context of the attempt that parked it. */
  readonly traceparent: string | null
}

const columns = sql`w.task_id as "taskId", w.tenant_id as tenant, w.event_id as "eventId", w.attempt, w.park, w.cluster,
  w.api_version as "apiVersion", w.kind, w.namespace, w.name, w.base_path as "basePath", w.uid, w.generation::float8 as generation,
  w.resource_version as "resourceVersion", w.rules,
  w.created_at as "createdAt", w.traceparent`

export interface OpenWaits {
  readonly eventIds: readonly string[]
  /** When the newest of them was parked. */
  readonly newest: Date | null
}

/** Every open wait, or those parked since a time: there may be many thousands, so no more than what tells them apart. */
export async function listOpenWaits(tx: Transaction, since: Date | undefined): Promise<OpenWaits> {
  const { rows } = await sql<OpenWaits>`
    select coalesce(array_agg(event_id), '{}') as "eventIds", max(created_at) as newest from sluice.waits
    where ${since ?? null}::timestamptz is null or created_at >= ${since ?? null}`.execute(tx)
  return rows[0] ?? { eventIds: [], newest: null }
}

export async function findOpenWaits(tx: Transaction, eventIds: readonly string[]): Promise<OpenWait[]> {
  const { rows } = await sql<OpenWait>`
    select ${columns} from sluice.waits w where w.event_id = any(${eventIds}::uuid[])`.execute(tx)
  return rows
}

/** An open wait with what its finish needs. */
export interface FinishingWait extends OpenWait {
  readonly operation: string
  readonly input: unknown
  readonly cancelRequestedBy: string | null
  /** What it waited for when that was told last. */
  readonly lastReason: string | null
  /** Milliseconds left until the deadline; zero or less when it has passed. */
  readonly remainingMs: number
  /** Milliseconds since it was parked, by the database's clock. */
  readonly ageMs: number
  /** Milliseconds since the task was accepted. */
  readonly taskAgeMs: number
}

/** The waits that these finish jobs are about. One that is missing was finished, or parked again, by another job. */
export async function findWaits(tx: Transaction, eventIds: readonly string[]): Promise<FinishingWait[]> {
  const { rows } = await sql<FinishingWait>`
    select ${columns}, t.operation, e.payload->'input' as input, t.cancel_requested_by as "cancelRequestedBy", t.waiting_for->>'reason' as "lastReason",
      (extract(epoch from w.deadline_at - clock_timestamp()) * 1000)::float8 as "remainingMs",
      (extract(epoch from clock_timestamp() - w.created_at) * 1000)::float8 as "ageMs",
      (extract(epoch from clock_timestamp() - t.created_at) * 1000)::float8 as "taskAgeMs"
    from sluice.waits w
    join sluice.tasks t on t.task_id = w.task_id
    join sluice.domain_events e on e.task_id = t.task_id and e.event_id = t.request_event_id
    where w.event_id = any(${eventIds}::uuid[]) and t.status = 'WAITING' and t.attempt = w.attempt`.execute(tx)
  return rows
}

/** Points a wait at its next finish job. */
export async function parkAgain(
  tx: Transaction,
  wait: { readonly taskId: string; readonly eventId: string; readonly park: number },
): Promise<Date> {
  const { rows } = await sql<{ deadline_at: Date }>`
    update sluice.waits set event_id = ${wait.eventId}::uuid, park = ${wait.park}::int, created_at = clock_timestamp()
    where task_id = ${wait.taskId}::uuid returning deadline_at`.execute(tx)
  const deadline = rows[0]?.deadline_at
  if (!deadline) throw new Error(`task ${wait.taskId} no longer waits`)
  return deadline
}
