import { sql } from 'kysely'
import type { DecisionRow, TicketRow } from '../approvals/ticket.sql.ts'
import type { Transaction } from '../database/database.ts'
import type { TicketState } from '../database/tables.ts'
import type { RequestPayload } from './accept-tasks.sql.ts'
import type { TicketDecision } from './decide-ticket.ts'
import type { TaskRow } from './task-view.ts'

/** A ticket with everything that it is about. */
export interface TicketDossier {
  readonly ticket: TicketRow
  readonly task: TaskRow
  readonly request: RequestPayload
  /** Dropped ones too, oldest first. */
  readonly decisions: readonly DecisionRow[]
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
export async function selectTickets(tx: Transaction, query: TicketQuery): Promise<TicketRow[]> {
  const { tenant, state, person, mine, after, limit } = query
  const { name, roles, groups = [] } = person
  const { rows } = await sql<TicketRow>`
      select k.* from sluice.tickets k join sluice.tasks t using (task_id)
      where k.tenant_id = ${tenant} and k.state = ${state} and (${after ?? null}::uuid is null or k.ticket_id > ${after ?? null}::uuid)
        and case when ${mine} then k.requested_by = ${name}
          when k.state = 'open' then k.requested_by <> ${name} and not ${name} = any(t.joined_by)
            and ((k.stages->k.stage->'roles') ?| ${roles}::text[] or (k.stages->k.stage->'groups') ?| ${groups}::text[])
          else true end
      order by k.ticket_id limit ${limit}`.execute(tx)
  return rows
}

export function selectTicketsById(tx: Transaction, ticketIds: readonly string[]): Promise<TicketRow[]> {
  return tx.selectFrom('tickets').selectAll().where('ticket_id', 'in', ticketIds).execute()
}

/** Everything that tickets are about, in their order. */
export async function readDossiers(tx: Transaction, tickets: readonly TicketRow[]): Promise<TicketDossier[]> {
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

export function readTask(tx: Transaction, taskId: string): Promise<TaskRow> {
  return tx.selectFrom('tasks').selectAll().where('task_id', '=', taskId).executeTakeFirstOrThrow()
}

/** What was asked for. */
export async function readRequest(tx: Transaction, task: TaskRow): Promise<RequestPayload> {
  const { payload } = await tx
    .selectFrom('domain_events')
    .select('payload')
    .where('task_id', '=', task.task_id)
    .where('type', '=', 'task.requested')
    .executeTakeFirstOrThrow()
  // Written by `accept_tasks` from this very type.
  return payload as unknown as RequestPayload
}
