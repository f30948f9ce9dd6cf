import { v7 as uuidv7 } from 'uuid'
import { deciders } from '../approvals/policy.ts'
import { toWireId } from '../contract/ids.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Transaction } from '../database/database.ts'
import type { NewTicket, RequestPayload } from './accept-tasks.sql.ts'
import type { JudgedRow } from './gate.ts'
import { openBatchTicket } from './ticket-items.sql.ts'

interface SharedTicket {
  readonly ticketId: string
  readonly ticket: NewTicket
  readonly environments: Set<string>
  /** Places in the batch, from 0. */
  readonly items: number[]
}

export interface SharedRows {
  /** In the order of the batch. */
  readonly rows: readonly JudgedRow[]
  readonly tickets: readonly SharedTicket[]
}

/** Items that met the same rule get one ticket, in the place of one each. */
export function shareTickets(judged: readonly JudgedRow[]): SharedRows {
  const byRule = new Map<string, SharedTicket>()
  const rows = judged.map((one, index) => {
    const { ticket, ...payload } = one.row.payload
    if (!ticket || payload.refused !== undefined) return one
    const shared = byRule.get(ticket.rule_digest) ?? {
      ticketId: uuidv7(),
      ticket,
      environments: new Set<string>(),
      items: [],
    }
    byRule.set(ticket.rule_digest, shared)
    shared.items.push(index)
    if (payload.environment !== undefined) shared.environments.add(payload.environment)
    const item: RequestPayload = {
      ...payload,
      ticket_id: shared.ticketId,
      item: { payload_hash: ticket.payload_hash, options: ticket.options },
    }
    return { ...one, row: { ...one.row, payload: item } }
  })
  return { rows, tickets: [...byRule.values()] }
}

export interface OpeningTickets extends SharedRows {
  readonly batchId: string
  readonly actor: string
  /** Whose rules hold for a ticket about several environments. */
  readonly strictestEnvironment: string
}

/** Opens the tickets of a batch that was accepted in this transaction. Returns the places of items whose ticket is one too many. */
export async function openSharedTickets(tx: Transaction, opening: OpeningTickets): Promise<number[]> {
  const { rows, tickets, batchId, actor } = opening
  for (const { ticketId, ticket, environments, items } of tickets) {
    const [only = opening.strictestEnvironment, ...others] = environments
    const environment = others.length === 0 ? only : opening.strictestEnvironment
    const full = await openBatchTicket(tx, {
      batchId,
      actor,
      ticket: { ...ticket, ticket_id: ticketId, environment },
      items: items.flatMap((position) => {
        const row = rows[position]?.row
        return row ? [{ task_id: row.task_id, position, payload_hash: row.request_hash }] : []
      }),
    })
    if (full !== null) return items
    const [first] = ticket.stages
    const makers = new Set(items.flatMap((position) => rows[position]?.row.payload.requester?.made_by ?? []))
    await appendNote(tx, {
      type: 'ticket.opened',
      actor,
      data: {
        ticket: toWireId('ticket', ticketId),
        batch: toWireId('batch', batchId),
        environment,
        rule: ticket.rule,
        rule_digest: ticket.rule_digest,
        policy_version: ticket.policy_version,
        items: items.length,
        notify: first ? deciders(first) : [],
        except: [...makers],
      },
    })
  }
  return []
}
