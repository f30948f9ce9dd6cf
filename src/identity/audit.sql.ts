import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import { sourceField } from '../database/request-source.ts'

export interface AuditedChange {
  readonly type: `token.${string}` | `role.${string}`
  readonly actor: string
  readonly data: Record<string, unknown>
}

/** A change of who may do what, as a row of the log that moves no task; in the tenant of the transaction. */
export async function appendAudit(tx: Transaction, { type, actor, data }: AuditedChange): Promise<void> {
  await sql`select sluice.append_event(null, ${type}, ${actor},
    ${JSON.stringify({ ...data, ...sourceField() })}::jsonb)`.execute(tx)
}
