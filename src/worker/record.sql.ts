import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { ResourceRecord } from '../operations/define-operation.ts'
import { targetName } from '../operations/object-target.ts'

export interface TenantRecord {
  readonly tenant: string
  readonly taskId: string
  readonly record: ResourceRecord
}

/**
 * Writes what the worker knows about objects. One row per object, the newest knowledge wins; but what another task's
 * record says is running stays its. Returns how many were written.
 */
export async function writeRecords(tx: Transaction, records: readonly TenantRecord[]): Promise<number> {
  if (records.length === 0) return 0
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
    details: record.details ?? null,
    task_id: taskId,
  }))
  const { numAffectedRows } = await sql`
    insert into sluice.resources as r (tenant_id, cluster, api_version, kind, namespace, name, uid, target, base_path,
      generation, state, conditions, details, task_id)
    select tenant_id, cluster, api_version, kind, namespace, name, uid, target, base_path, generation, state, conditions, details, task_id
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as (tenant_id text, cluster text, api_version text, kind text,
      namespace text, name text, uid text, target text, base_path text, generation bigint, state text, conditions jsonb, details jsonb, task_id uuid)
    order by tenant_id, cluster, base_path, api_version, kind, namespace, name
    on conflict (tenant_id, cluster, base_path, api_version, kind, namespace, name) do update
      set uid = coalesce(excluded.uid, r.uid),
        generation = coalesce(excluded.generation, r.generation), drift = null, state = excluded.state, conditions = excluded.conditions,
        details = excluded.details, task_id = excluded.task_id, updated_at = clock_timestamp()
      where r.state <> 'running' or r.task_id = excluded.task_id`.execute(tx)
  return Number(numAffectedRows ?? 0)
}

/** The record that the task has started, if any. */
export async function findRunningRecord(tx: Transaction, taskId: string): Promise<ResourceRecord | undefined> {
  const row = await tx
    .selectFrom('resources')
    .selectAll()
    .where('task_id', '=', taskId)
    .where('state', '=', 'running')
    .executeTakeFirst()
  if (!row) return undefined
  const { cluster, base_path: basePath, api_version: apiVersion, kind, namespace, name, conditions } = row
  return {
    cluster,
    basePath,
    ref: { apiVersion, kind, name, ...(namespace !== '' && { namespace }) },
    state: 'running',
    conditions,
    details: row.details ?? undefined,
  }
}
