import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

export interface SealedInput {
  /** UUID of the task or the schedule. */
  readonly owner_id: string
  readonly tenant_id: string
  readonly pointer: string
  readonly sealed: string
}

/** Of tasks that this transaction has accepted, each in its own tenant. */
export async function insertTaskSecrets(tx: Transaction, rows: readonly SealedInput[]): Promise<void> {
  await sql`select sluice.keep_task_secrets(${JSON.stringify(rows)}::jsonb)`.execute(tx)
}

/** In the tenant that the transaction is bound to. */
export async function insertScheduleSecrets(tx: Transaction, rows: readonly SealedInput[]): Promise<void> {
  await sql`insert into sluice.input_secrets (owner_id, tenant_id, pointer, sealed)
    select owner_id, tenant_id, pointer, sealed from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as x (owner_id uuid, tenant_id text, pointer text, sealed text)`.execute(tx)
}

export async function deleteScheduleSecrets(
  tx: Transaction,
  scheduleId: string,
  except: readonly string[],
): Promise<void> {
  await sql`delete from sluice.input_secrets
    where owner_id = ${scheduleId}::uuid and pointer <> all (${except}::text[])`.execute(tx)
}

export async function selectInputSecrets(tx: Transaction, ownerIds: readonly string[]): Promise<SealedInput[]> {
  const { rows } = await sql<SealedInput>`select owner_id, tenant_id, pointer, sealed from sluice.input_secrets
    where owner_id = any(${ownerIds}::uuid[])`.execute(tx)
  return rows
}
