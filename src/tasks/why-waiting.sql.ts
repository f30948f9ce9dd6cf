import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { HoldsTable } from '../database/tables.ts'

/** What stands outside a task's own row and keeps it from running. */
export interface Explanation {
  readonly reason: HoldsTable['reason'] | null
  readonly scope: string | null
  readonly key: string | null
  readonly until: Date | null
  /** Its place in the queue of its class; null beyond the first thousand. */
  readonly position: number | null
  readonly workersAlive: number
  readonly pausedBy: string | null
  readonly maxRunning: number | null
  /** Whether a worker that is alive offers the operation. */
  readonly workersKnow: boolean
}

export async function selectExplanations(
  tx: Transaction,
  ids: readonly string[],
): Promise<(Explanation & { readonly taskId: string })[]> {
  const { rows } = await sql<Explanation & { readonly taskId: string }>`
    select task_id as "taskId", reason, scope, key, until, queue_position as position, workers_alive as "workersAlive",
      paused_by as "pausedBy", max_running as "maxRunning", workers_know as "workersKnow"
    from sluice.explain_tasks(${ids}::uuid[])`.execute(tx)
  return rows
}
