import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** Objects that are watched together: one watch serves them all. */
export interface RecordedKind {
  readonly tenant: string
  readonly cluster: string
  readonly basePath: string
  readonly apiVersion: string
  readonly kind: string
}

/** The kinds of which records say that an object is there. */
export async function listRecordedKinds(tx: Transaction): Promise<RecordedKind[]> {
  const { rows } = await sql<RecordedKind>`
    select distinct tenant_id as tenant, cluster, base_path as "basePath", api_version as "apiVersion", kind from sluice.resources
    where state = 'present'`.execute(tx)
  return rows
}

/** An object that a record says is there. */
export interface RecordedObject {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly generation: number | null
}

/** Objects of the kind that records say are there, and that are none of these. */
export async function listUnseen(
  tx: Transaction,
  { tenant, cluster, basePath, apiVersion, kind }: RecordedKind,
  seenUids: readonly string[],
): Promise<RecordedObject[]> {
  const { rows } = await sql<RecordedObject>`
    select namespace, name, uid, generation::float8 as generation from sluice.resources
    where tenant_id = ${tenant} and cluster = ${cluster} and base_path = ${basePath} and api_version = ${apiVersion}
      and kind = ${kind} and state = 'present' and uid is not null and uid <> all (${seenUids}::text[])`.execute(tx)
  return rows
}

/** What the watch saw of one object. */
export interface Observation extends RecordedKind {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly generation: number
  readonly deleted: boolean
  readonly conditions: readonly Record<string, unknown>[]
}

/**
 * Writes what was seen into the records that know the object by its uid, and an event for each that drifted. While a
 * task of ours works on it, nothing is drift: the task writes its own record.
 */
export async function recordObservations(
  tx: Transaction,
  observations: readonly Observation[],
  worker: string,
): Promise<number> {
  const { rows } = await sql<{ drifted: number }>`
    with seen as (
      select * from jsonb_to_recordset(${JSON.stringify(observations)}::jsonb) as (tenant text, cluster text, "basePath" text, "apiVersion" text,
        kind text, namespace text, name text, uid text, generation bigint, deleted boolean, conditions jsonb)
    ), judged as (
      select r.tenant_id, r.cluster, r.base_path, r.api_version, r.kind, r.namespace, r.name, r.target, r.drift as before, s.conditions,
        case when s.deleted then 'deleted' when s.generation > r.generation then 'changed' end as drift
      from seen s join sluice.resources r on r.tenant_id = s.tenant and r.cluster = s.cluster and r.base_path = s."basePath" and r.api_version = s."apiVersion" and r.kind = s.kind
        and r.namespace = s.namespace and r.name = s.name and r.uid = s.uid
      where r.state = 'present'
        and not exists (select from sluice.tasks t where t.active_target = r.tenant_id || '/' || r.target)
      -- In the order in which outcomes write records: neither waits for the other in a circle.
      order by r.tenant_id, r.cluster, r.base_path, r.api_version, r.kind, r.namespace, r.name
      for update of r
    ), changed as (
      update sluice.resources r set conditions = j.conditions, drift = j.drift,
        state = case when j.drift = 'deleted' then 'deleted' else 'present' end, updated_at = clock_timestamp()
      from judged j
      where r.tenant_id = j.tenant_id and r.cluster = j.cluster and r.base_path = j.base_path and r.api_version = j.api_version and r.kind = j.kind
        and r.namespace = j.namespace and r.name = j.name
        and (r.drift is distinct from j.drift or (j.drift is distinct from 'deleted' and r.conditions is distinct from j.conditions))
      returning r.tenant_id, r.target, r.kind, r.name, j.before, r.drift
    ), told as (
      insert into sluice.domain_events (tenant_id, type, target, actor, payload)
      select tenant_id, 'resource.drifted', target, ${worker}, jsonb_build_object('drift', drift, 'kind', kind, 'name', name)
      from changed where drift is not null and drift is distinct from before
      returning 1
    )
    select count(*)::int as drifted from told`.execute(tx)
  return rows[0]?.drifted ?? 0
}
