import { closeTicket, lockTicket } from '../approvals/ticket.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import { problem } from './decide-ticket.ts'
import { appendExpired, listOverdueTickets } from './due-tickets.sql.ts'
import { readHeldTasks } from './ticket-items.sql.ts'
import { aboutTicket } from './ticket-rest.ts'

export interface ExpireTicketsOptions {
  readonly database: Database
  readonly signals: SignalSender
  readonly workerId: string
}

/** Ends the tasks whose tickets nobody decided in time, by the database's clock. Any worker may, at any time. */
export async function expireTickets(options: ExpireTicketsOptions): Promise<number> {
  const overdue = await options.database.transaction({ role: 'sluice_worker' }, listOverdueTickets)
  let expired = 0
  // One transaction each: a ticket that is being decided holds up no other.
  for (const ticketId of overdue) {
    if (await options.database.transaction({ role: 'sluice_worker' }, (tx) => expire(tx, ticketId, options.workerId))) {
      expired++
    }
  }
  if (expired > 0) options.signals.send('events')
  return expired
}

async function expire(tx: Transaction, ticketId: string, workerId: string): Promise<boolean> {
  const ticket = await lockTicket(tx, ticketId)
  if (!ticket || ticket.state !== 'open' || !ticket.overdue) return false
  const held = await readHeldTasks(tx, ticket)
  await closeTicket(tx, ticketId, { state: 'expired', by: workerId })
  const error = problem('expired', 'Expired', `Nobody decided by ${ticket.expires_at.toISOString()}. Ask again.`)
  const about = aboutTicket(ticket)
  await appendExpired(tx, ticket.tenant_id, {
    actor: workerId,
    taskIds: held.map(({ task_id }) => task_id),
    payload: { ticket: about.ticket, rule: ticket.rule, error },
    note:
      ticket.batch_id === null
        ? undefined
        : { ...about, rule: ticket.rule, items: held.length, notify: [`principal:${ticket.requested_by}`] },
  })
  return true
}
