import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** The W3C trace context of what a ticket is about; the items of a batch were asked for together, so the first speaks for all. */
export async function findTraceparents(tx: Transaction, ticketId: string): Promise<string[]> {
  const { rows } = await sql<{ traceparent: string }>`
    select e.payload->>'traceparent' as traceparent from sluice.tasks t
    join sluice.domain_events e on e.task_id = t.task_id and e.event_id = t.request_event_id and e.at = t.created_at
    where t.task_id = coalesce((select k.task_id from sluice.tickets k where k.ticket_id = ${ticketId}::uuid),
        (select i.task_id from sluice.ticket_items i where i.ticket_id = ${ticketId}::uuid order by i.position limit 1))
      and e.payload ? 'traceparent'`.execute(tx)
  return rows.map(({ traceparent }) => traceparent)
}
