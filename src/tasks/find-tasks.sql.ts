import { sql } from 'kysely'
import type { z } from 'zod'
import { fromWireId, type IdPrefix } from '../contract/ids.ts'
import type { BulkFilter, taskListQuerySchema } from '../contract/task-list.ts'
import type { Transaction } from '../database/database.ts'
import type { TaskRow } from './task-view.ts'
import { traceIdColumn } from './trace-id.sql.ts'

export type TaskListQuery = z.output<typeof taskListQuerySchema>

export function selectTask(tx: Transaction, tenant: string, taskId: string): Promise<TaskRow | undefined> {
  return tx
    .selectFrom('tasks')
    .selectAll()
    .select(traceIdColumn)
    .where('tenant_id', '=', tenant)
    .where('task_id', '=', taskId)
    .executeTakeFirst()
}

export interface TaskSelection {
  readonly tenant: string
  readonly query: TaskListQuery | BulkFilter
  /** UUID of the last task of the page before. */
  readonly after: string | undefined
  readonly limit: number
}

/** Newest first: ids carry their time. */
export function selectTasks(tx: Transaction, selection: TaskSelection): Promise<TaskRow[]> {
  const { tenant, query, after, limit } = selection
  return filtered(tx, tenant, query)
    .select(traceIdColumn)
    .$if(after !== undefined, (q) => q.where('task_id', '<', after ?? ''))
    .orderBy('task_id', 'desc')
    .limit(limit)
    .execute()
}

/** The tasks of a tenant that fit a filter. An id that is none fits nothing. */
export function filtered(tx: Transaction, tenant: string, query: TaskListQuery | BulkFilter) {
  const { status, operation, target, requested_by, label, created_after, created_before, q, dead_lettered } = query
  const batchId = uuidOf('batch', query.batch_id)
  const scheduleId = uuidOf('schedule', query.schedule_id)
  const taskIds = 'task_ids' in query ? query.task_ids?.map((id) => uuidOf('task', id) ?? noId) : undefined
  return tx
    .selectFrom('tasks')
    .selectAll()
    .where('tenant_id', '=', tenant)
    .$if(batchId !== undefined, (b) => b.where('batch_id', '=', batchId ?? noId))
    .$if(scheduleId !== undefined, (b) => b.where('schedule_id', '=', scheduleId ?? noId))
    .$if(taskIds !== undefined, (b) => b.where(sql<boolean>`task_id = any(${taskIds ?? []}::uuid[])`))
    .$if(dead_lettered === true, (b) => b.where('dead_lettered', '=', true))
    .$if(dead_lettered === false, (b) => b.where('dead_lettered', '=', false))
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

const noId = '00000000-0000-0000-0000-000000000000'

function uuidOf(prefix: IdPrefix, id: string | undefined): string | undefined {
  return id === undefined ? undefined : (fromWireId(prefix, id) ?? noId)
}

function toLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => [label.slice(0, label.indexOf('=')), label.slice(label.indexOf('=') + 1)]),
  )
}
