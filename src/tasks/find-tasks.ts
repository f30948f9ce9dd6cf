import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import { RefusedError } from '../operations/define-operation.ts'
import { selectTask, selectTasks, type TaskListQuery } from './find-tasks.sql.ts'
import type { TaskRow } from './task-view.ts'

/** The task, or undefined when the tenant has none of this id. */
export function findTask(database: Database, tenant: string, taskId: string): Promise<TaskRow | undefined> {
  return readAsTenant(database, tenant, (tx) => selectTask(tx, tenant, taskId))
}

export interface TaskRows {
  readonly rows: TaskRow[]
  readonly nextPageToken: string | null
}

/** Newest first. The page token is the last id of the page: ids carry their time. Throws `RefusedError` on a bad one. */
export function listTasks(database: Database, tenant: string, query: TaskListQuery): Promise<TaskRows> {
  const after = query.page_token === undefined ? undefined : readPageToken(query.page_token)
  const size = query.page_size ?? 50
  return readAsTenant(database, tenant, async (tx) => {
    const rows = await selectTasks(tx, { tenant, query, after, limit: size + 1 })
    const page = rows.slice(0, size)
    const last = page.at(-1)
    return { rows: page, nextPageToken: rows.length > size && last ? pageToken(last.task_id) : null }
  })
}

/** A page ends with this id: the next one begins behind it. */
export const pageToken = (taskId: string): string =>
  Buffer.from(taskId.replaceAll('-', ''), 'hex').toString('base64url')

/** The id in a page token. Throws `RefusedError` on one that no list returned. */
export function readPageToken(token: string): string {
  const hex = Buffer.from(token, 'base64url').toString('hex')
  if (hex.length !== 32) {
    throw new RefusedError('page_token is not one that a list returned. Leave it out to begin again.', {
      status: 422,
      code: 'invalid_page_token',
    })
  }
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
