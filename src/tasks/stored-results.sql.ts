import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

export interface StoredResultRow {
  readonly task_id: string
  readonly attempt: number
  readonly object_key: string
  readonly media_type: string
  readonly bytes: string
  readonly sha256: string
}

export interface NewStoredResult {
  readonly taskId: string
  readonly attempt: number
  readonly tenant: string
  readonly key: string
  readonly mediaType: string
}

/** Says that bytes will be stored under a key. Again for one attempt, they replace those before. */
export async function announceResult(tx: Transaction, result: NewStoredResult): Promise<void> {
  await sql`insert into sluice.stored_results (task_id, attempt, tenant_id, object_key, media_type)
    values (${result.taskId}::uuid, ${result.attempt}::int, ${result.tenant}, ${result.key}, ${result.mediaType})
    on conflict (task_id, attempt) do update set object_key = excluded.object_key, media_type = excluded.media_type,
      bytes = null, sha256 = null`.execute(tx)
}

/** The attempt's stored result is the task's: in the transaction of its outcome. */
export async function settleResult(
  tx: Transaction,
  { taskId, attempt, bytes, sha256 }: { taskId: string; attempt: number; bytes: number; sha256: string },
): Promise<void> {
  await sql`update sluice.stored_results set settled = true, bytes = ${bytes}::bigint, sha256 = ${sha256}
    where task_id = ${taskId}::uuid and attempt = ${attempt}::int`.execute(tx)
}

export async function selectStoredResult(tx: Transaction, taskId: string): Promise<StoredResultRow | undefined> {
  const { rows } = await sql<StoredResultRow>`
    select task_id, attempt, object_key, media_type, bytes, sha256 from sluice.stored_results
    where task_id = ${taskId}::uuid and settled`.execute(tx)
  return rows[0]
}

/**
 * What may be deleted, the oldest first: results of tasks that retention has taken, and, a day later, leftovers of
 * attempts that are over.
 */
export async function selectDisposable(
  tx: Transaction,
  { retentionDays, limit }: { readonly retentionDays: number; readonly limit: number },
): Promise<Pick<StoredResultRow, 'task_id' | 'attempt' | 'object_key'>[]> {
  const { rows } = await sql<Pick<StoredResultRow, 'task_id' | 'attempt' | 'object_key'>>`
    (select r.task_id, r.attempt, r.object_key from sluice.stored_results r
      where r.created_at < now() - make_interval(days => ${retentionDays}::int)
        and not exists (select from sluice.tasks t where t.task_id = r.task_id)
      order by r.created_at limit ${limit}::int)
    union
    (select r.task_id, r.attempt, r.object_key from sluice.stored_results r
      where not r.settled and r.created_at < now() - interval '1 day'
        and not exists (select from sluice.tasks t where t.task_id = r.task_id and not t.done and t.attempt = r.attempt)
      order by r.created_at limit ${limit}::int)`.execute(tx)
  return rows
}

export async function deleteStoredResult(
  tx: Transaction,
  { task_id, attempt }: Pick<StoredResultRow, 'task_id' | 'attempt'>,
): Promise<void> {
  await sql`delete from sluice.stored_results where task_id = ${task_id}::uuid and attempt = ${attempt}::int`.execute(
    tx,
  )
}
