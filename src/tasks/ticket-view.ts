import { describeStage } from '../approvals/policy.ts'
import type { Ticket } from '../contract/approval.ts'
import { toWireId } from '../contract/ids.ts'
import type { Database } from '../database/database.ts'
import { isRequester, type TicketDecision, whyNot } from './decide-ticket.ts'
import {
  readDossiers,
  selectTickets,
  selectTicketsById,
  type TicketDossier,
  type TicketQuery,
} from './ticket-dossier.sql.ts'
import { taskLinks, type TaskRow, ticketLink } from './task-view.ts'

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

/** As it travels, for one person. */
export function toTicket(dossier: TicketDossier, person: TicketDecision['person']): Ticket {
  const { ticket, task, request, decisions } = dossier
  const self = ticketLink(ticket.ticket_id)
  const refusal = ticket.state === 'open' ? whyNot(ticket, task, person) : undefined
  const decided = decisions.some(({ principal, dropped_at }) => principal === person.name && dropped_at === null)
  const closed = ticket.state === 'open' ? null : `The ticket is closed: ${ticket.state}.`
  const why = closed ?? refusal?.message ?? (decided ? 'You have decided already; somebody else has to go on.' : null)
  return {
    ticket_id: toWireId('ticket', ticket.ticket_id),
    task_id: toWireId('task', ticket.task_id),
    state: ticket.state,
    operation: task.operation,
    target: task.target,
    environment: ticket.environment,
    requested_by: ticket.requested_by,
    joined_by: task.joined_by,
    payload: { operation: task.operation, input: request.input, options: { ...request.ticket?.options } },
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
    decisions: decisions.map(({ decision, principal, stage, comment, at, dropped_at }) => ({
      decision,
      principal,
      stage,
      comment,
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
      task: taskLinks(ticket.task_id).self,
      approve: `${self}/approve`,
      reject: `${self}/reject`,
      withdraw: `${self}/withdraw`,
    },
  }
}

function counting({ task, decisions }: TicketDossier, stage: number): number {
  return decisions.filter(
    (one) =>
      one.stage === stage && one.decision === 'approve' && one.dropped_at === null && !isRequester(task, one.principal),
  ).length
}

function describeNeed(dossier: TicketDossier): string {
  const { stages, stage, expires_at } = dossier.ticket
  const current = stages[stage]
  if (!current) return `Waiting for an approval; expires ${expires_at.toISOString()}.`
  const missing = describeStage({ ...current, quorum: current.quorum - counting(dossier, stage) })
  const later = stages.length - stage - 1
  const more = later === 0 ? '' : `, then ${later} more ${later === 1 ? 'stage' : 'stages'}`
  return `Needs ${missing}${more}; expires ${expires_at.toISOString()}.`
}

/** What each task that waits for an approval still needs, by the task's UUID. */
export async function explainTickets(
  database: Database,
  tenant: string,
  tasks: readonly TaskRow[],
): Promise<ReadonlyMap<string, string>> {
  const ids = tasks.flatMap((task) => (task.status === 'AWAITING_APPROVAL' && task.ticket_id ? [task.ticket_id] : []))
  if (ids.length === 0) return new Map()
  const dossiers = await database.transaction({ role: 'sluice_api', tenant }, async (tx) =>
    readDossiers(tx, await selectTicketsById(tx, ids)),
  )
  return new Map(dossiers.map((dossier) => [dossier.task.task_id, describeNeed(dossier)]))
}
