import { z } from 'zod'
import { bulkFilterSchema } from '../contract/task-list.ts'
import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import { completed, defineOperation, type Operation } from '../operations/define-operation.ts'
import { selectTasks } from './find-tasks.sql.ts'
import { toTask } from './task-view.ts'

const input = z.strictObject(bulkFilterSchema.shape)
const pageSize = 500

/** `POST /exports/tasks`: every task that fits a filter, newest first, one JSON document per line, as a stored result. */
export function createTaskExport({ database }: { readonly database: Database }): Operation<z.output<typeof input>> {
  return defineOperation({
    type: 'tasks.export',
    title: 'Export tasks as lines of JSON',
    route: { method: 'POST', path: '/exports/tasks' },
    input,
    class: 'long',
    perform: async ({ tenant, signal, report, storeResult }, filter) => {
      let done = 0
      async function* lines(): AsyncGenerator<Uint8Array> {
        for (let after: string | undefined; ;) {
          signal.throwIfAborted()
          const selection = { tenant, query: filter, after, limit: pageSize }
          const rows = await readAsTenant(database, tenant, (tx) => selectTasks(tx, selection))
          if (rows.length > 0) yield Buffer.from(rows.map((row) => `${JSON.stringify(toTask(row))}\n`).join(''))
          done += rows.length
          report({ done })
          if (rows.length < pageSize) return
          after = rows.at(-1)?.task_id
        }
      }
      return completed(await storeResult(lines(), { mediaType: 'application/x-ndjson' }))
    },
  })
}
