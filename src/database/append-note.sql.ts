import { sql } from 'kysely'
import type { Transaction } from './database.ts'
import { sourceField } from './request-source.ts'

interface Note {
  readonly type: string
  readonly actor: string
  readonly data: Record<string, unknown>
}

/** Appends an event that moves no task, in the tenant that the transaction is bound to: for the audit and the feed. */
export async function appendNote(tx: Transaction, { type, actor, data }: Note): Promise<void> {
  await sql`select sluice.append_event(null, ${type}, ${actor}, 
    ${JSON.stringify({ ...data, ...sourceField() })}::jsonb)`.execute(tx)
}
