import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { ResourceRecord } from '../operations/define-operation.ts'
import { targetName } from '../operations/object-target.ts'

export interface TenantRecord {
  readonly tenant: string
  readonly taskId: string
  readonly record: ResourceRecord
}

/** Writes what the worker knows about objects. One row per object, the newest knowledge wins. */
export async function writeRecords(tx: Transaction, records: readonly TenantRecord[]): Promise<void> {
  if (records.length === 0) return
  const rows = records.map(({ tenant, taskId, record }) => ({
    tenant_id: tenant,
    cluster: record.cluster,
    api_version: record.ref.apiVersion,
    kind: record.ref.kind,
    namespace: record.ref.namespace ?? '',
    name: record.ref.name,
    uid: record.uid ?? null,
    target: targetName(record),
    base_path: record.basePath ?? '',
    generation: record.generation ?? null,
    state: record.state,
    conditions: record.conditions,
    task_id: taskId,
  }))
  await sql`
    insert into sluice.resources as r (tenant_id, cluster, api_version, kind, namespace, name, uid, target, base_path,
      generation, state, conditions, task_id)
    select tenant_id, cluster, api_version, kind, namespace, name, uid, target, base_path, generation, state, conditions, task_id
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as (tenant_id text, cluster text, api_version text, kind text,
      namespace text, name text, uid text, target text, base_path text, generation bigint, state text, conditions jsonb, task_id uuid)
    order by tenant_id, cluster, base_path, api_version, kind, namespace, name
    on conflict (tenant_id, cluster, base_path, api_version, kind, namespace, name) do update
      set uid = coalesce(excluded.uid, r.uid),
        generation = coalesce(excluded.generation, r.generation), drift = null, state = excluded.state, conditions = excluded.conditions,
        task_id = excluded.task_id, updated_at = clock_timestamp()`.execute(tx)
}
