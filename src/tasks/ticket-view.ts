import { describeStage } from '../approvals/policy.ts'
import type { DecisionRow } from '../approvals/ticket.sql.ts'
import type { Ticket, TicketItem } from '../contract/approval.ts'
import { toWireId } from '../contract/ids.ts'
import type { Database } from '../database/database.ts'
import type { RequestPayload } from './accept-tasks.sql.ts'
import { countApprovals, hasDecided, type TicketDecision, whyNot } from './decide-ticket.ts'
import {
  readDossiers,
  selectTicketItems,
  selectTickets,
  selectTicketsById,
  type TicketDossier,
  type TicketQuery,
} from './ticket-dossier.sql.ts'
import { readRequests } from './ticket-items.sql.ts'
import { basePath, taskLinks, type TaskRow, ticketLink } from './task-view.ts'

export function findTicket(database: Database, tenant: string, ticketId: string): Promise<TicketDossier | undefined> {
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const [dossier] = await readDossiers(tx, await selectTicketsById(tx, [ticketId]))
    return dossier
  })
}

/** Oldest first. */
export function listTickets(database: Database, query: TicketQuery): Promise<TicketDossier[]> {
  return database.transaction({ role: 'sluice_api', tenant: query.tenant }, async (tx) =>
    readDossiers(tx, await selectTickets(tx, query)),
  )
}

/** The changes that a ticket is about, each with its exact payload, in the order of the batch. */
export function listTicketItems(
  database: Database,
  tenant: string,
  { dossier, ...page }: { readonly dossier: TicketDossier; readonly after: number; readonly limit: number },
): Promise<TicketItem[]> {
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const rows = await selectTicketItems(tx, dossier.ticket, page)
    const requests = await readRequests(
      tx,
      rows.map(({ task_id }) => task_id),
    )
    return rows.map(({ task_id, position, status, operation, target, payload_hash }) => ({
      position,
      task_id: toWireId('task', task_id),
      status,
      target,
      payload: toPayload(operation, requests.get(task_id)),
      payload_hash,
    }))
  })
}

const toPayload = (operation: string, request: RequestPayload | undefined) => ({
  operation,
  input: request?.input,
  options: { ...(request?.item ?? request?.ticket)?.options },
})

/** As it travels, for one person. */
export function toTicket(dossier: TicketDossier, person: TicketDecision['person']): Ticket {
  const { ticket, requesters, decisions } = dossier
  const self = ticketLink(ticket.ticket_id)
  const refusal = ticket.state === 'open' ? whyNot(ticket, dossier, person) : undefined
  const decided = hasDecided(decisions.filter(counts), person)
  const closed = ticket.state === 'open' ? null : `The ticket is closed: ${ticket.state}.`
  const why = closed ?? refusal?.message ?? (decided ? 'You have decided already; somebody else has to go on.' : null)
  return {
    ticket_id: toWireId('ticket', ticket.ticket_id),
    ...subjectOf(dossier),
    state: ticket.state,
    environment: ticket.environment,
    requested_by: ticket.requested_by,
    joined_by: requesters.filter((name) => name !== ticket.requested_by),
    payload_hash: ticket.payload_hash,
    rule: ticket.rule,
    rule_digest: ticket.rule_digest,
    policy_version: ticket.policy_version,
    stages: ticket.stages.map(({ name, quorum, roles, groups }, i) => ({
      name,
      quorum,
      roles: [...roles],
      groups: [...groups],
      approvals: counting(dossier, i),
    })),
    stage: ticket.stage,
    needs: ticket.state === 'open' ? describeNeed(dossier) : null,
    decisions: decisions.map(({ decision, principal, stage, comment, items, at, dropped_at }) => ({
      decision,
      principal,
      stage,
      comment,
      items: items && items.map((id) => toWireId('task', id)),
      at: at.toISOString(),
      dropped: dropped_at !== null,
    })),
    may_decide: why === null,
    why_not: why,
    opened_at: ticket.opened_at.toISOString(),
    expires_at: ticket.expires_at.toISOString(),
    closed_at: ticket.closed_at?.toISOString() ?? null,
    closed_by: ticket.closed_by,
    links: {
      self,
      task: ticket.task_id && taskLinks(ticket.task_id).self,
      batch: ticket.batch_id && `${basePath}/batches/${toWireId('batch', ticket.batch_id)}`,
      items: `${self}/items`,
      approve: `${self}/approve`,
      reject: `${self}/reject`,
      withdraw: `${self}/withdraw`,
    },
  }
}

function subjectOf({
  ticket,
  subject,
}: TicketDossier): Pick<Ticket, 'task_id' | 'batch_id' | 'items' | 'operation' | 'target' | 'payload'> {
  switch (subject.kind) {
    case 'task': {
      const { task, request } = subject
      return {
        task_id: toWireId('task', task.task_id),
        batch_id: null,
        items: null,
        operation: task.operation,
        target: task.target,
        payload: toPayload(task.operation, request),
      }
    }
    case 'items': {
      const { operations, total, waiting } = subject
      return {
        task_id: null,
        batch_id: ticket.batch_id && toWireId('batch', ticket.batch_id),
        items: { total, waiting },
        operation: operations.join(', '),
        target: null,
        payload: null,
      }
    }
  }
}

const counts = ({ items, dropped_at }: DecisionRow): boolean => items === null && dropped_at === null

const counting = (dossier: TicketDossier, stage: number): number =>
  countApprovals(dossier.decisions.filter(counts), stage, dossier)

function describeNeed(dossier: TicketDossier): string {
  const { subject } = dossier
  const { stages, stage, expires_at } = dossier.ticket
  const current = stages[stage]
  if (!current) return `Waiting for an approval; expires ${expires_at.toISOString()}.`
  const missing = describeStage({ ...current, quorum: current.quorum - counting(dossier, stage) })
  const later = stages.length - stage - 1
  const more = later === 0 ? '' : `, then ${later} more ${later === 1 ? 'stage' : 'stages'}`
  const shared = subject.kind === 'items' ? `, for ${subject.waiting} of its batch together` : ''
  return `Needs ${missing}${more}${shared}; expires ${expires_at.toISOString()}.`
}

/** What each task that waits for an approval still needs, by the task's UUID. */
export async function explainTickets(
  database: Database,
  tenant: string,
  tasks: readonly TaskRow[],
): Promise<ReadonlyMap<string, string>> {
  const waiting = tasks.flatMap(({ status, task_id, ticket_id }) =>
    status === 'AWAITING_APPROVAL' && ticket_id !== null ? [{ task_id, ticket_id }] : [],
  )
  const ids = [...new Set(waiting.map(({ ticket_id }) => ticket_id))]
  if (ids.length === 0) return new Map()
  const dossiers = await database.transaction({ role: 'sluice_api', tenant }, async (tx) =>
    readDossiers(tx, await selectTicketsById(tx, ids)),
  )
  const needs = new Map(dossiers.map((dossier) => [dossier.ticket.ticket_id, describeNeed(dossier)]))
  return new Map(waiting.map(({ task_id, ticket_id }) => [task_id, needs.get(ticket_id) ?? 'Waiting for an approval.']))
}
