import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import { sourceField } from '../database/request-source.ts'

interface ApiEvent {
  /** Null for a change of the configuration. */
  readonly taskId: string | null
  readonly type: string
  readonly actor: string
  readonly data: Record<string, unknown>
}

/** Appends an event on behalf of a caller of the API, in the tenant that the transaction is bound to. */
export async function appendEvent(tx: Transaction, event: ApiEvent): Promise<void> {
  await sql`select sluice.append_event(${event.taskId}::uuid, ${event.type}, ${event.actor},
    ${JSON.stringify({ ...event.data, ...sourceField() })}::jsonb)`.execute(tx)
}
