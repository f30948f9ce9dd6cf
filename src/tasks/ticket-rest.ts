import { deciders } from '../approvals/policy.ts'
import { closeTicket, dropDecisions, enterStage, type TicketRow } from '../approvals/ticket.sql.ts'
import { toWireId } from '../contract/ids.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Transaction } from '../database/database.ts'
import { readHeldTasks, renewHash } from './ticket-items.sql.ts'

/** What a note says the ticket is about. */
export const aboutTicket = ({ ticket_id, task_id, batch_id, environment }: TicketRow) => ({
  ticket: toWireId('ticket', ticket_id),
  environment,
  ...(task_id !== null && { task: toWireId('task', task_id) }),
  ...(batch_id !== null && { batch: toWireId('batch', batch_id) }),
})

export interface TicketNote {
  readonly type: `ticket.${'opened' | 'decided' | 'withdrawn' | 'changed'}`
  readonly actor: string
  readonly data: Record<string, unknown>
}

/** Says once, for all items of a batch, what the event of its task says for the ticket of one. */
export async function tellOfBatch(
  tx: Transaction,
  ticket: TicketRow,
  { type, actor, data }: TicketNote,
): Promise<void> {
  if (ticket.batch_id === null) return
  await appendNote(tx, { type, actor, data: { ...aboutTicket(ticket), ...data } })
}

/**
 * After something that a ticket held has ended: closes it when that was all, and binds it to the rest otherwise. Who
 * approved before has approved something else: that counts no more, and they are told.
 */
export async function closeOrRenew(
  tx: Transaction,
  ticket: TicketRow,
  close: { readonly state: 'rejected' | 'cancelled' | 'approved'; readonly by: string },
): Promise<void> {
  const held = await readHeldTasks(tx, ticket)
  if (held.length === 0) {
    await closeTicket(tx, ticket.ticket_id, close)
    return
  }
  await renewHash(tx, ticket.ticket_id)
  const people = await dropDecisions(tx, ticket.ticket_id)
  if (people.length === 0) return
  await enterStage(tx, ticket.ticket_id, 0)
  const [first] = ticket.stages
  await tellOfBatch(tx, ticket, {
    type: 'ticket.changed',
    actor: close.by,
    data: {
      items: held.length,
      explain: 'Its items are no longer the same: what was said before counts no more.',
      notify: [...people.map((name) => `principal:${name}`), ...(first ? deciders(first) : [])],
    },
  })
}
