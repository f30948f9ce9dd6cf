import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { TaskRow } from './task-view.ts'

export interface FoundRequest {
  readonly task: TaskRow
  readonly input: unknown
  /** W3C trace context under which it was asked for. */
  readonly traceparent: string | null
}

/** Tasks with the input that they were asked with, in the order of the ids. */
export async function findRequests(
  tx: Transaction,
  tenant: string,
  taskIds: readonly string[],
): Promise<FoundRequest[]> {
  const tasks = await tx
    .selectFrom('tasks')
    .selectAll()
    .where('tenant_id', '=', tenant)
    .where('task_id', 'in', [...taskIds])
    .orderBy('task_id')
    .execute()
  const { rows } = await sql<{ task_id: string; input: unknown; traceparent: string | null }>`
    select e.task_id, e.payload->'input' as input, e.payload->>'traceparent' as traceparent from sluice.tasks t
    join sluice.domain_events e on e.task_id = t.task_id and e.event_id = t.request_event_id
    where t.task_id = any(${taskIds}::uuid[])`.execute(tx)
  const requests = new Map(rows.map((row) => [row.task_id, row]))
  return tasks.map((task) => {
    const request = requests.get(task.task_id)
    return { task, input: request?.input, traceparent: request?.traceparent ?? null }
  })
}
