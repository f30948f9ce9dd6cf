import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** Open tickets that nobody decided in time, by the database's clock. */
export async function listOverdueTickets(tx: Transaction): Promise<string[]> {
  const { rows } = await sql<{ ticket_id: string }>`
    select ticket_id from sluice.tickets where state = 'open' and expires_at <= clock_timestamp()
    order by expires_at limit 500`.execute(tx)
  return rows.map((row) => row.ticket_id)
}

export interface StaleTicket {
  readonly ticketId: string
  /** Tickets of one batch are judged together. */
  readonly batchId: string | null
  readonly tenant: string
}

/** Open tickets that were judged last under an older policy. */
export async function listStaleTickets(tx: Transaction, version: number): Promise<StaleTicket[]> {
  const { rows } = await sql<StaleTicket>`
    select distinct on (coalesce(batch_id, ticket_id)) ticket_id as "ticketId", batch_id as "batchId", tenant_id as tenant
    from sluice.tickets where state = 'open' and policy_version < ${version}::int
    order by coalesce(batch_id, ticket_id), ticket_id limit 500`.execute(tx)
  return rows
}

export interface Expiry {
  readonly actor: string
  readonly taskIds: readonly string[]
  /** What each task's event says. */
  readonly payload: Record<string, unknown>
  /** What is said once for the items of a batch. */
  readonly note: Record<string, unknown> | undefined
}

/** The events of a ticket that the worker's role writes. */
export async function appendExpired(tx: Transaction, tenant: string, expiry: Expiry): Promise<void> {
  const { actor, taskIds, payload, note } = expiry
  await sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
    select id, ${tenant}, 'task.expired', ${actor}, ${JSON.stringify(payload)}::jsonb
    from unnest(${taskIds}::uuid[]) as id order by id`.execute(tx)
  if (note === undefined) return
  await sql`insert into sluice.domain_events (tenant_id, type, actor, payload)
    values (${tenant}, 'ticket.expired', ${actor}, ${JSON.stringify(note)}::jsonb)`.execute(tx)
}
