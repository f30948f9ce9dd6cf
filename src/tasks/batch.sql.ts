import { type Selectable, sql } from 'kysely'
import type { TaskStatus } from '../contract/task-status.ts'
import type { Transaction } from '../database/database.ts'
import type { BatchesTable } from '../database/tables.ts'

export type BatchRow = Selectable<BatchesTable>

export interface NewBatch {
  readonly batchId: string
  readonly tenant: string
  readonly actor: string
  readonly onError: 'continue' | 'stop'
  readonly concurrency?: number
  readonly retryOf?: string
  readonly items: readonly unknown[]
  readonly counts: Partial<Record<TaskStatus, number>>
}

export function insertBatch(tx: Transaction, batch: NewBatch): Promise<BatchRow> {
  return tx
    .insertInto('batches')
    .values({
      batch_id: batch.batchId,
      tenant_id: batch.tenant,
      requested_by: batch.actor,
      on_error: batch.onError,
      concurrency: batch.concurrency ?? null,
      total: batch.items.length,
      counts: JSON.stringify(batch.counts),
      retry_of: batch.retryOf ?? null,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

export function selectBatch(tx: Transaction, batchId: string): Promise<BatchRow | undefined> {
  return tx.selectFrom('batches').selectAll().where('batch_id', '=', batchId).executeTakeFirst()
}

export function selectBatches(
  tx: Transaction,
  page: { readonly tenant: string; readonly after: string | undefined; readonly limit: number },
): Promise<BatchRow[]> {
  const { tenant, after, limit } = page
  return tx
    .selectFrom('batches')
    .selectAll()
    .where('tenant_id', '=', tenant)
    .$if(after !== undefined, (q) => q.where('batch_id', '<', after ?? ''))
    .orderBy('batch_id', 'desc')
    .limit(limit)
    .execute()
}

/** UUIDs of the items that failed. */
export async function failedOf(tx: Transaction, batchId: string): Promise<string[]> {
  const rows = await tx
    .selectFrom('tasks')
    .select('task_id')
    .where('batch_id', '=', batchId)
    .where('status', 'in', ['FAILED', 'TIMED_OUT'])
    .execute()
  return rows.map(({ task_id }) => task_id)
}

/** Batches of which an item failed and the rest is to be cancelled. */
export async function selectStopping(tx: Transaction): Promise<{ batch_id: string; tenant_id: string }[]> {
  const { rows } = await sql<{ batch_id: string; tenant_id: string }>`
    select batch_id, tenant_id from sluice.batches where stopping and completed_at is null limit 100`.execute(tx)
  return rows
}
