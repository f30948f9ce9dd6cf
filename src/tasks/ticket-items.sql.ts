import { sql } from 'kysely'
import type { TicketRow } from '../approvals/ticket.sql.ts'
import type { Transaction } from '../database/database.ts'
import { sourceField } from '../database/request-source.ts'
import type { RequestPayload } from './accept-tasks.sql.ts'
import type { TaskRow } from './task-view.ts'

const columns = [
  'task_id',
  'tenant_id',
  'operation',
  'target',
  'class',
  'requested_by',
  'request_event_id',
  'job_priority',
  'max_attempts',
  'timeout_ms',
  'start_at',
] as const satisfies readonly (keyof TaskRow)[]

/** A task whose job a ticket holds back. */
export type HeldTask = Pick<TaskRow, (typeof columns)[number]> & {
  /** In its batch, from 0. */
  readonly position: number
}

/** What a ticket still holds, in the order of the batch: at most one task, where the ticket is of one. */
export async function readHeldTasks(tx: Transaction, ticket: TicketRow): Promise<HeldTask[]> {
  if (ticket.task_id !== null) {
    const rows = await tx
      .selectFrom('tasks')
      .select(columns)
      .where('task_id', '=', ticket.task_id)
      .where('status', '=', 'AWAITING_APPROVAL')
      .execute()
    return rows.map((row) => ({ ...row, position: 0 }))
  }
  return tx
    .selectFrom('ticket_items as i')
    .innerJoin('tasks as t', 't.task_id', 'i.task_id')
    .select([...columns.map((column) => `t.${column}` as const), 'i.position'])
    .where('i.ticket_id', '=', ticket.ticket_id)
    .where('t.status', '=', 'AWAITING_APPROVAL')
    .orderBy('i.position')
    .execute()
}

/** Who wants what a ticket is about: none of them decides. */
export interface Asking {
  /** Who asked for anything of it, or joined it. */
  readonly requesters: readonly string[]
  /** Who else had the tokens in hand that it was asked for with, or joined with. */
  readonly makers: readonly string[]
}

export async function readAsking(tx: Transaction, ticket: TicketRow): Promise<Asking> {
  const makers = (await readMakers(tx, [ticket])).get(ticket.ticket_id) ?? []
  return { requesters: await readRequesters(tx, ticket), makers }
}

async function readRequesters(tx: Transaction, ticket: TicketRow): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select distinct unnest(t.joined_by || t.requested_by) as name from sluice.tasks t
    where t.task_id = any(array_append(array(select i.task_id from sluice.ticket_items i
      where i.ticket_id = ${ticket.ticket_id}::uuid), ${ticket.task_id}::uuid))`.execute(tx)
  return [...new Set([ticket.requested_by, ...rows.map(({ name }) => name)])]
}

/** Who asked or joined by somebody else's name, with a token that they had made for them, by ticket. */
export async function readMakers(
  tx: Transaction,
  tickets: readonly Pick<TicketRow, 'ticket_id'>[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const ids = tickets.map(({ ticket_id }) => ticket_id)
  const { rows } = await sql<{ ticket_id: string; names: string[] }>`
    select h.ticket_id, array_agg(distinct m.name) as names
    from (select ticket_id, task_id from sluice.ticket_items where ticket_id = any(${ids}::uuid[])
      union all select ticket_id, task_id from sluice.tickets where ticket_id = any(${ids}::uuid[])) h
    join sluice.domain_events e on e.task_id = h.task_id and e.type in ('task.requested', 'task.joined')
    cross join lateral jsonb_array_elements_text(coalesce(e.payload #> '{requester,made_by}', e.payload->'made_by')) as m (name)
    group by 1`.execute(tx)
  return new Map(rows.map(({ ticket_id, names }) => [ticket_id, names]))
}

export interface EventOfEach {
  readonly type: 'task.approved' | 'task.rejected' | 'task.cancelled' | 'task.regated'
  readonly actor: string
  /** What every event says. */
  readonly data: Record<string, unknown>
  readonly tasks: readonly Pick<HeldTask, 'task_id' | 'start_at'>[]
}

/** Appends an event to each of the tasks, in their order. Refused as a whole (SL001) when one of them moved on. */
export async function appendToEach(tx: Transaction, { type, actor, data, tasks }: EventOfEach): Promise<void> {
  const events = tasks.map(({ task_id, start_at }) => ({
    task_id,
    // An approved task with a start time is scheduled.
    more: type === 'task.approved' && start_at ? { start_at: start_at.toISOString() } : {},
  }))
  await sql`select sluice.append_to_each(${type}, ${actor}, ${JSON.stringify({ ...data, ...sourceField() })}::jsonb,
    ${JSON.stringify(events)}::jsonb)`.execute(tx)
}

/** What was asked for, by the task's UUID. */
export async function readRequests(
  tx: Transaction,
  taskIds: readonly string[],
): Promise<ReadonlyMap<string, RequestPayload>> {
  const { rows } = await sql<{ task_id: string; payload: RequestPayload }>`
    select e.task_id, e.payload from sluice.domain_events e
    where e.task_id = any(${taskIds}::uuid[]) and e.type = 'task.requested'`.execute(tx)
  return new Map(rows.map(({ task_id, payload }) => [task_id, payload]))
}

/** Binds a batch's ticket to what it still holds. */
export async function renewHash(tx: Transaction, ticketId: string): Promise<void> {
  await sql`update sluice.tickets set payload_hash = sluice.items_hash(ticket_id) where ticket_id = ${ticketId}::uuid`.execute(
    tx,
  )
}

export interface NewBatchTicket {
  readonly batchId: string
  readonly actor: string
  readonly ticket: {
    readonly ticket_id: string
    readonly rule: string
    readonly rule_digest: string
    readonly policy_version: number
    readonly environment: string
    readonly stages: TicketRow['stages']
    readonly expires_in_ms: number
    /** How many may be open; without a limit the ticket takes the place of another one. */
    readonly limit_per_requester?: number
    readonly limit_per_tenant?: number
  }
  readonly items: readonly { readonly task_id: string; readonly position: number; readonly payload_hash: string }[]
}

/** Opens a ticket for items that were accepted in this transaction, or that another ticket held. Says whose limit is reached. */
export async function openBatchTicket(
  tx: Transaction,
  { batchId, actor, ticket, items }: NewBatchTicket,
): Promise<'requester' | 'tenant' | null> {
  const { rows } = await sql<{ full: 'requester' | 'tenant' | null }>`select sluice.open_batch_ticket(${batchId}::uuid,
    ${actor}, ${JSON.stringify(ticket)}::jsonb, ${JSON.stringify(items)}::jsonb) as "full"`.execute(tx)
  return rows[0]?.full ?? null
}

/** Open tickets of a batch, held until the transaction ends, in one order. */
export async function lockBatchTickets(tx: Transaction, batchId: string): Promise<TicketRow[]> {
  const { rows } = await sql<TicketRow>`select * from sluice.tickets
    where batch_id = ${batchId}::uuid and state = 'open' order by ticket_id for update`.execute(tx)
  return rows
}

/** Puts items of a batch under another ticket of it. */
export async function moveItems(
  tx: Transaction,
  { tasks, ticketId }: { readonly tasks: readonly HeldTask[]; readonly ticketId: string },
): Promise<void> {
  await sql`update sluice.ticket_items set ticket_id = ${ticketId}::uuid
    where task_id = any(${tasks.map(({ task_id }) => task_id)}::uuid[])`.execute(tx)
}

export function readTicket(tx: Transaction, ticketId: string): Promise<TicketRow> {
  return tx.selectFrom('tickets').selectAll().where('ticket_id', '=', ticketId).executeTakeFirstOrThrow()
}

/** Whether all of these are still under the ticket: policy may have put some under another one of the batch. */
export async function holdsAll(tx: Transaction, ticket: TicketRow, taskIds: readonly string[]): Promise<boolean> {
  const { rows } = await sql<{ n: string }>`select count(*) as n from sluice.ticket_items
    where ticket_id = ${ticket.ticket_id}::uuid and task_id = any(${taskIds}::uuid[])`.execute(tx)
  return Number(rows[0]?.n) === taskIds.length
}
