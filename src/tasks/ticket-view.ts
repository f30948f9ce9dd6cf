import { sql } from 'kysely'
import { describeStage } from '../approvals/policy.ts'
import { type DecisionRow, type TicketRow } from '../approvals/ticket.sql.ts'
import type { Ticket } from '../contract/approval.ts'
import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { TicketState } from '../database/tables.ts'
import type { RequestPayload } from './accept-tasks.sql.ts'
import { isRequester, type TicketDecision, whyNot } from './decide-ticket.ts'
import { taskLinks, type TaskRow, ticketLink } from './task-view.ts'

/** A ticket with everything that it is about. */
export interface TicketDossier {
  readonly ticket: TicketRow
  readonly task: TaskRow
  readonly request: RequestPayload
  /** Dropped ones too, oldest first. */
  readonly decisions: readonly DecisionRow[]
}

export function findTicket(database: Database, tenant: string, ticketId: string): Promise<TicketDossier | undefined> {
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const tickets = await tx.selectFrom('tickets').selectAll().where('ticket_id', '=', ticketId).execute()
    const [dossier] = await complete(tx, tickets)
    return dossier
  })
}

export interface TicketQuery {
  readonly tenant: string
  readonly state: TicketState
  readonly person: TicketDecision['person']
  /** What the person asked for; else, of the open ones, what they may decide, and all of the closed ones. */
  readonly mine: boolean
  readonly after?: string | undefined
  readonly limit: number
}

/** Oldest first. */
export function listTickets(database: Database, query: TicketQuery): Promise<TicketDossier[]> {
  const { tenant, state, person, mine, after, limit } = query
  const { name, roles, groups = [] } = person
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const { rows } = await sql<TicketRow>`
      select k.* from sluice.tickets k join sluice.tasks t using (task_id)
      where k.tenant_id = ${tenant} and k.state = ${state} and (${after ?? null}::uuid is null or k.ticket_id > ${after ?? null}::uuid)
        and case when ${mine} then k.requested_by = ${name}
          when k.state = 'open' then k.requested_by <> ${name} and not ${name} = any(t.joined_by)
            and ((k.stages->k.stage->'roles') ?| ${roles}::text[] or (k.stages->k.stage->'groups') ?| ${groups}::text[])
          else true end
      order by k.ticket_id limit ${limit}`.execute(tx)
    return complete(tx, rows)
  })
}

async function complete(tx: Transaction, tickets: readonly TicketRow[]): Promise<TicketDossier[]> {
  if (tickets.length === 0) return []
  const taskIds = tickets.map((ticket) => ticket.task_id)
  const ticketIds = tickets.map((ticket) => ticket.ticket_id)
  const tasks = await tx.selectFrom('tasks').selectAll().where('task_id', 'in', taskIds).execute()
  const requests = await tx
    .selectFrom('domain_events')
    .select(['task_id', 'payload'])
    .where('task_id', 'in', taskIds)
    .where('type', '=', 'task.requested')
    .execute()
  const decisions = await tx
    .selectFrom('decisions')
    .selectAll()
    .where('ticket_id', 'in', ticketIds)
    .orderBy('decision_id')
    .execute()
  return tickets.flatMap((ticket) => {
    const task = tasks.find(({ task_id }) => task_id === ticket.task_id)
    const request = requests.find(({ task_id }) => task_id === ticket.task_id)
    if (!task || !request) return []
    return [
      {
        ticket,
        task,
        // Written by `accept_tasks` from this very type.
        request: request.payload as unknown as RequestPayload,
        decisions: decisions.filter(({ ticket_id }) => ticket_id === ticket.ticket_id),
      },
    ]
  })
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
    complete(
      tx,
      await tx.selectFrom('tickets').selectAll().where('ticket_id', 'in', ids).where('state', '=', 'open').execute(),
    ),
  )
  return new Map(dossiers.map((dossier) => [dossier.task.task_id, describeNeed(dossier)]))
}
