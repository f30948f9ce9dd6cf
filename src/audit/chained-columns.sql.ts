import { sql } from 'kysely'

/** The columns of `ChainedEvent`. By their schema: nobody puts functions of their own in between. */
export const chainedColumns = sql`seq, event_id, task_id, tenant_id, type, operation, target, actor,
  (extract(epoch from at) * 1000000)::bigint as at_us,
  pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(payload::text, 'UTF8')), 'hex') as payload_hash`
