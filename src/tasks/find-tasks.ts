import { sql } from 'kysely'
import type { z } from 'zod'
import { fromWireId } from '../contract/ids.ts'
import type { taskListQuerySchema } from '../contract/task-list.ts'
import type { Database, Transaction } from '../database/database.ts'
import { RefusedError } from '../operations/define-operation.ts'
import type { TaskRow } from './task-view.ts'

type TaskListQuery = z.output<typeof taskListQuerySchema>

/** The task, or undefined when the tenant has none of this id. */
export function findTask(database: Database, tenant: string, taskId: string): Promise<TaskRow | undefined> {
  return database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    tx.selectFrom('tasks').selectAll().where('tenant_id', '=', tenant).where('task_id', '=', taskId).executeTakeFirst(),
  )
}

export interface TaskRows {
  readonly rows: TaskRow[]
  readonly nextPageToken: string | null
}

/** Newest first. The page token is the last id of the page: ids carry their time. Throws `RefusedError` on a bad one. */
export function listTasks(database: Database, tenant: string, query: TaskListQuery): Promise<TaskRows> {
  const after = query.page_token === undefined ? undefined : readPageToken(query.page_token)
  const batchId = query.batch_id === undefined ? undefined : (fromWireId('batch', query.batch_id) ?? null)
  if (batchId === null) return Promise.resolve({ rows: [], nextPageToken: null })
  const size = query.page_size ?? 50
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const rows = await filtered(tx, tenant, query)
      .$if(after !== undefined, (q) => q.where('task_id', '<', after ?? ''))
      .$if(batchId !== undefined, (q) => q.where('batch_id', '=', batchId ?? null))
      .orderBy('task_id', 'desc')
      .limit(size + 1)
      .execute()
    const page = rows.slice(0, size)
    const last = page.at(-1)
    return { rows: page, nextPageToken: rows.length > size && last ? pageToken(last.task_id) : null }
  })
}

function filtered(tx: Transaction, tenant: string, query: TaskListQuery) {
  const { status, operation, target, requested_by, label, created_after, created_before, q } = query
  return tx
    .selectFrom('tasks')
    .selectAll()
    .where('tenant_id', '=', tenant)
    .$if(status !== undefined, (b) => b.where('status', 'in', status ?? []))
    .$if(operation !== undefined, (b) => b.where('operation', 'in', operation ?? []))
    .$if(target !== undefined, (b) => b.where('target', '=', target ?? ''))
    .$if(requested_by !== undefined, (b) => b.where('requested_by', '=', requested_by ?? ''))
    .$if(label !== undefined, (b) => b.where(sql<boolean>`labels @> ${JSON.stringify(toLabels(label ?? []))}::jsonb`))
    .$if(created_after !== undefined, (b) => b.where('created_at', '>', new Date(created_after ?? 0)))
    .$if(created_before !== undefined, (b) => b.where('created_at', '<', new Date(created_before ?? 0)))
    .$if(q !== undefined, (b) => {
      const pattern = `%${(q ?? '').replaceAll(/[\\%_]/g, '\\$&')}%`
      const taskId = fromWireId('task', q ?? '')
      return b.where((eb) =>
        eb.or([
          eb('target', 'ilike', pattern),
          eb('operation', 'ilike', pattern),
          eb('requested_by', 'ilike', pattern),
          ...(taskId ? [eb('task_id', '=', taskId)] : []),
        ]),
      )
    })
}

function toLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => [label.slice(0, label.indexOf('=')), label.slice(label.indexOf('=') + 1)]),
  )
}

const pageToken = (taskId: string): string => Buffer.from(taskId.replaceAll('-', ''), 'hex').toString('base64url')

function readPageToken(token: string): string {
  const hex = Buffer.from(token, 'base64url').toString('hex')
  if (hex.length !== 32) {
    throw new RefusedError('page_token is not one that a list returned. Leave it out to begin again.', {
      status: 422,
      code: 'invalid_page_token',
    })
  }
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
