import { sql } from 'kysely'
import type { TicketRow } from '../approvals/ticket.sql.ts'
import type { Transaction } from '../database/database.ts'

/** Open tickets that nobody decided in time, by the database's clock. */
export async function listOverdueTickets(tx: Transaction): Promise<string[]> {
  const { rows } = await sql<{ ticket_id: string }>`
    select ticket_id from sluice.tickets where state = 'open' and expires_at <= clock_timestamp()
    order by expires_at limit 500`.execute(tx)
  return rows.map((row) => row.ticket_id)
}

/** Open tickets that were judged last under an older policy. */
export async function listStaleTickets(
  tx: Transaction,
  version: number,
): Promise<{ ticketId: string; tenant: string }[]> {
  const { rows } = await sql<{ ticketId: string; tenant: string }>`
    select ticket_id as "ticketId", tenant_id as tenant from sluice.tickets
    where state = 'open' and policy_version < ${version}::int order by ticket_id limit 500`.execute(tx)
  return rows
}

/** The one event of a ticket that the worker's role writes. */
export async function appendExpired(
  tx: Transaction,
  ticket: TicketRow,
  { actor, payload }: { readonly actor: string; readonly payload: Record<string, unknown> },
): Promise<void> {
  await sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
    values (${ticket.task_id}::uuid, ${ticket.tenant_id}, 'task.expired', ${actor},
      ${JSON.stringify(payload)}::jsonb)`.execute(tx)
}
