import { appendNote } from '../database/append-note.sql.ts'
import type { Database } from '../database/database.ts'
import type { Known } from './principal.ts'

/** Writes that somebody came into the console, left it, or made a link into it: in the log of each tenant that the session reaches. */
export async function noteSession(
  database: Database,
  type: 'session.opened' | 'session.closed' | 'session.code_issued',
  { name, grants }: Known,
): Promise<void> {
  for (const tenant of new Set(grants.map((grant) => grant.tenant))) {
    await database.transaction({ role: 'sluice_api', tenant }, (tx) => appendNote(tx, { type, actor: name, data: {} }))
  }
}
