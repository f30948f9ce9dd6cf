import { sql } from 'kysely'

/**
 * A column beside those of `tasks`: the trace id of the request, from its event. By the event's exact time, which is one
 * partition's, so that each row costs two look-ups by index.
 */
export const traceIdColumn = sql<string | null>`(select split_part(e.payload->>'traceparent', '-', 2)
  from sluice.domain_events e
  where e.task_id = tasks.task_id and e.event_id = tasks.request_event_id and e.at = tasks.created_at)`.as('trace_id')
