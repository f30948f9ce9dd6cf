import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** A task that has not ended. */
export interface UndoneTask {
  readonly tenant: string
  readonly attempt: number
  /** Attempts that count: those handed back unburned do not. */
  readonly burned: number
  readonly maxAttempts: number
}

export async function findUndone(tx: Transaction, taskId: string): Promise<UndoneTask | undefined> {
  const { rows } = await sql<UndoneTask>`
    select tenant_id as tenant, attempt, attempt - handed_back as burned, max_attempts as "maxAttempts" from sluice.tasks
    where task_id = ${taskId}::uuid and not done`.execute(tx)
  return rows[0]
}
