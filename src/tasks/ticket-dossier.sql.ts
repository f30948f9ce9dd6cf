import { sql } from 'kysely'
import type { DecisionRow, TicketRow } from '../approvals/ticket.sql.ts'
import type { TaskStatus } from '../contract/task-status.ts'
import type { Transaction } from '../database/database.ts'
import type { TicketState } from '../database/tables.ts'
import { environmentsOf } from '../identity/standing.ts'
import type { RequestPayload } from './accept-tasks.sql.ts'
import type { TicketDecision } from './decide-ticket.ts'
import type { TaskRow } from './task-view.ts'
import { type Asking, readMakers, readRequests } from './ticket-items.sql.ts'
import { traceIdColumn } from './trace-id.sql.ts'

/** A ticket with everything that it is about. */
export interface TicketDossier extends Asking {
  readonly ticket: TicketRow
  readonly subject: OneTask | ItemsOfBatch
  /** Dropped ones too, oldest first. */
  readonly decisions: readonly DecisionRow[]
}

interface OneTask {
  readonly kind: 'task'
  readonly task: TaskRow
  readonly request: RequestPayload
}

interface ItemsOfBatch {
  readonly kind: 'items'
  readonly operations: readonly string[]
  readonly total: number
  /** Those that wait for the decision. */
  readonly waiting: number
}

export interface TicketQuery {
  readonly tenant: string
  readonly state: TicketState
  readonly person: TicketDecision['person']
  /** What the person asked for; else, of the open ones, what they may decide, and all of the closed ones. */
  readonly mine: boolean
  readonly batchId?: string | undefined
  readonly after?: string | undefined
  readonly limit: number
}

/** Oldest first. */
export async function selectTickets(tx: Transaction, query: TicketQuery): Promise<TicketRow[]> {
  const { tenant, state, person, mine, batchId = null, after = null, limit } = query
  const { name, roles, groups = [], limits = {} } = person
  const decidesIn = environmentsOf(person, 'approvals.decide') ?? null
  const { rows } = await sql<TicketRow>`
      select k.* from sluice.tickets k
      where k.tenant_id = ${tenant} and k.state = ${state} and (${after}::uuid is null or k.ticket_id > ${after}::uuid)
        and (${batchId}::uuid is null or k.batch_id = ${batchId}::uuid)
        and case when ${mine} then k.requested_by = ${name}
          when k.state = 'open' then k.requested_by <> ${name}
            and (${decidesIn}::text[] is null or k.environment = any(${decidesIn}::text[]))
            and ((k.stages->k.stage->'groups') ?| ${groups}::text[] or exists (select from unnest(${roles}::text[]) as r(role)
              where (k.stages->k.stage->'roles') ? r.role
                and coalesce(${JSON.stringify(limits)}::jsonb->r.role ? k.environment, true)))
            and not exists (select from sluice.tasks t where ${name} = any(t.joined_by)
              and (t.task_id = k.task_id or t.task_id in
                (select i.task_id from sluice.ticket_items i where i.ticket_id = k.ticket_id)))
          else true end
      order by k.ticket_id limit ${limit}`.execute(tx)
  return rows
}

export function selectTicketsById(tx: Transaction, ticketIds: readonly string[]): Promise<TicketRow[]> {
  return tx.selectFrom('tickets').selectAll().where('ticket_id', 'in', ticketIds).execute()
}

/** Everything that tickets are about, in their order. What retention has taken is left out. */
export async function readDossiers(tx: Transaction, tickets: readonly TicketRow[]): Promise<TicketDossier[]> {
  if (tickets.length === 0) return []
  const taskIds = tickets.flatMap((ticket) => ticket.task_id ?? [])
  const ticketIds = tickets.map((ticket) => ticket.ticket_id)
  const tasks =
    taskIds.length === 0 ? [] : await tx.selectFrom('tasks').selectAll().where('task_id', 'in', taskIds).execute()
  const requests = await readRequests(tx, taskIds)
  const items = await readItemSummaries(tx, ticketIds)
  const decisions = await tx
    .selectFrom('decisions')
    .selectAll()
    .where('ticket_id', 'in', ticketIds)
    .orderBy('decision_id')
    .execute()
  const makersOf = await readMakers(tx, tickets)
  return tickets.flatMap((ticket): TicketDossier[] => {
    const makers = makersOf.get(ticket.ticket_id) ?? []
    const said = decisions.filter(({ ticket_id }) => ticket_id === ticket.ticket_id)
    if (ticket.task_id === null) {
      const found = items.find(({ ticket_id }) => ticket_id === ticket.ticket_id)
      if (!found) return []
      const { operations, total, waiting, joined_by } = found
      const requesters = [...new Set([ticket.requested_by, ...joined_by])]
      return [{ ticket, subject: { kind: 'items', operations, total, waiting }, requesters, makers, decisions: said }]
    }
    const task = tasks.find(({ task_id }) => task_id === ticket.task_id)
    const request = requests.get(ticket.task_id)
    if (!task || !request) return []
    const requesters = [task.requested_by, ...task.joined_by]
    return [{ ticket, subject: { kind: 'task', task, request }, requesters, makers, decisions: said }]
  })
}

interface ItemSummary extends Omit<ItemsOfBatch, 'kind'> {
  readonly ticket_id: string
  readonly joined_by: readonly string[]
}

async function readItemSummaries(tx: Transaction, ticketIds: readonly string[]): Promise<ItemSummary[]> {
  const { rows } = await sql<ItemSummary>`
    select i.ticket_id, count(*)::int as total, count(*) filter (where t.status = 'AWAITING_APPROVAL')::int as waiting,
      array_agg(distinct t.operation) as operations,
      array(select distinct unnest(jt.joined_by) from sluice.ticket_items ji join sluice.tasks jt on jt.task_id = ji.task_id
        where ji.ticket_id = i.ticket_id) as joined_by
    from sluice.ticket_items i join sluice.tasks t on t.task_id = i.task_id
    where i.ticket_id = any(${ticketIds}::uuid[]) group by i.ticket_id`.execute(tx)
  return rows
}

export interface TicketItemRow {
  readonly task_id: string
  readonly position: number
  readonly payload_hash: string
  readonly operation: string
  readonly target: string | null
  readonly status: TaskStatus
}

/** What a ticket is about, in the order of the batch. */
export async function selectTicketItems(
  tx: Transaction,
  ticket: TicketRow,
  page: { readonly after: number; readonly limit: number },
): Promise<TicketItemRow[]> {
  const { rows } = await sql<TicketItemRow>`
    select t.task_id, i.position, i.payload_hash, t.operation, t.target, t.status
    from (
      select task_id, position, payload_hash from sluice.ticket_items where ticket_id = ${ticket.ticket_id}::uuid
      union all select ${ticket.task_id}::uuid, 0, ${ticket.payload_hash} where ${ticket.task_id}::uuid is not null
    ) i join sluice.tasks t on t.task_id = i.task_id
    where i.position > ${page.after}::int order by i.position limit ${page.limit}`.execute(tx)
  return rows
}

export function readTask(tx: Transaction, taskId: string): Promise<TaskRow> {
  return tx
    .selectFrom('tasks')
    .selectAll()
    .select(traceIdColumn)
    .where('task_id', '=', taskId)
    .executeTakeFirstOrThrow()
}
