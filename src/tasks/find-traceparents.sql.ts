import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** W3C trace contexts under which the tasks of a ticket were asked for: one for a task, or for the items of a batch. */
export async function findTraceparents(tx: Transaction, ticketId: string): Promise<string[]> {
  const { rows } = await sql<{ traceparent: string }>`
    select distinct e.payload->>'traceparent' as traceparent from sluice.tasks t
    join sluice.domain_events e on e.task_id = t.task_id and e.event_id = t.request_event_id and e.at = t.created_at
    where t.task_id = any(array_append(array(select i.task_id from sluice.ticket_items i
        where i.ticket_id = ${ticketId}::uuid), (select k.task_id from sluice.tickets k where k.ticket_id = ${ticketId}::uuid)))
      and e.payload ? 'traceparent' limit 10`.execute(tx)
  return rows.map(({ traceparent }) => traceparent)
}
