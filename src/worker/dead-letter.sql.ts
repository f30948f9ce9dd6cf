import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** A task that has not ended. */
export interface UndoneTask {
  readonly tenant: string
  readonly attempt: number
  readonly maxAttempts: number
}

export async function findUndone(tx: Transaction, taskId: string): Promise<UndoneTask | undefined> {
  const { rows } = await sql<UndoneTask>`
    select tenant_id as tenant, attempt, max_attempts as "maxAttempts" from sluice.tasks
    where task_id = ${taskId}::uuid and not done`.execute(tx)
  return rows[0]
}
