import { type RawBuilder, sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** What is looked for: everything that is given must hold. */
export interface AuditQuery {
  readonly actor?: string | undefined
  /** `ticket.*` for all that begin so. */
  readonly type?: string | undefined
  /** A UUID. */
  readonly taskId?: string | undefined
  readonly address?: string | undefined
  readonly tokenId?: string | undefined
  readonly since?: Date | undefined
  /** Exclusive. */
  readonly until?: Date | undefined
}

export type AuditOrder = 'newest first' | 'oldest first'

export interface AuditRow {
  readonly seq: string
  readonly event_id: string
  readonly at: Date
  readonly type: string
  readonly task_id: string | null
  readonly operation: string | null
  readonly target: string | null
  readonly actor: string
  readonly payload: Record<string, unknown>
}

/** A run of a tenant's events. The log has no index by tenant: the seals know where its events are. */
export interface SealedRun {
  readonly position: string
  readonly seqs: readonly string[]
  readonly links: Buffer
  readonly from_at: Date
  readonly to_at: Date
}

export interface RunPage {
  readonly tenant: string
  readonly query: AuditQuery
  readonly order: AuditOrder
  readonly sealedUpTo: bigint
  /** The position of the run to begin with. */
  readonly from: string | undefined
  /** Runs are read until they hold so many events. */
  readonly events: number
}

const directions = { 'newest first': sql`desc`, 'oldest first': sql`asc` } satisfies Record<
  AuditOrder,
  RawBuilder<unknown>
>

export async function selectRuns(tx: Transaction, page: RunPage): Promise<SealedRun[]> {
  const { tenant, query, order, sealedUpTo, from = null, events } = page
  const { since = null, until = null } = query
  const direction = directions[order]
  const begins = order === 'newest first' ? sql`position <= ${from}::bigint` : sql`position >= ${from}::bigint`
  const { rows } = await sql<SealedRun>`
    select position, seqs, links, from_at, to_at from (
      select *, sum(events) over (order by position ${direction}) as held from (
        select * from sluice.audit_seals where tenant_id = ${tenant} and round <= ${sealedUpTo.toString()}::bigint
          and (${from}::bigint is null or ${begins})
          and (${since}::timestamptz is null or to_at >= ${since}::timestamptz)
          and (${until}::timestamptz is null or from_at < ${until}::timestamptz)
        order by position ${direction} limit 500) s) r
    where held - events < ${events} order by position ${direction}`.execute(tx)
  return rows
}

export interface EventPage {
  readonly tenant: string
  readonly query: AuditQuery
  readonly order: AuditOrder
  /** Exclusive bounds of the numbers. */
  readonly after?: string | undefined
  readonly before?: string | undefined
  /** @default all */
  readonly limit?: number
}

/** Of these numbers, within a time: without it every partition would be looked at. */
export interface SealedEvents {
  readonly seqs: readonly string[]
  readonly from: Date
  readonly to: Date
}

export function selectSealed(tx: Transaction, { seqs, from, to }: SealedEvents, page: EventPage): Promise<AuditRow[]> {
  return selectEvents(tx, page, sql`seq = any(${seqs}::bigint[]) and at >= ${from} and at <= ${to}`)
}

/** Behind what is sealed. */
export function selectTail(tx: Transaction, sealedUpTo: bigint, page: EventPage): Promise<AuditRow[]> {
  return selectEvents(tx, page, sql`seq > ${sealedUpTo.toString()}::bigint`)
}

async function selectEvents(tx: Transaction, page: EventPage, where: RawBuilder<unknown>): Promise<AuditRow[]> {
  const { tenant, query, order, after = null, before = null, limit = null } = page
  const { actor = null, type = null, taskId = null, address = null, tokenId = null, since = null, until = null } = query
  const exact = type?.endsWith('*') === true ? null : type
  const prefix = exact === null ? (type?.slice(0, -1) ?? null) : null
  const { rows } = await sql<AuditRow>`
    select seq, event_id, at, type, task_id, operation, target, actor, payload from sluice.domain_events
    where tenant_id = ${tenant} and ${where}
      and (${after}::bigint is null or seq > ${after}::bigint) and (${before}::bigint is null or seq < ${before}::bigint)
      and (${actor}::text is null or actor = ${actor}) and (${exact}::text is null or type = ${exact})
      and (${prefix}::text is null or starts_with(type, ${prefix})) and (${taskId}::uuid is null or task_id = ${taskId}::uuid)
      and (${address}::text is null or payload #>> '{source,address}' = ${address})
      and (${tokenId}::text is null or payload #>> '{source,token_id}' = ${tokenId})
      and (${since}::timestamptz is null or at >= ${since}::timestamptz)
      and (${until}::timestamptz is null or at < ${until}::timestamptz)
    order by seq ${directions[order]} limit ${limit}::bigint`.execute(tx)
  return rows
}

/** The time from a task's first event to its last. Undefined when the tenant's log holds none of it. */
export async function selectTaskSpan(
  tx: Transaction,
  tenant: string,
  taskId: string,
): Promise<{ readonly since: Date; readonly until: Date } | undefined> {
  const { rows } = await sql<{ since: Date | null; until: Date | null }>`
    select min(at) as since, max(at) + interval '1 ms' as until from sluice.domain_events
    where task_id = ${taskId}::uuid and tenant_id = ${tenant}`.execute(tx)
  const [span] = rows
  return span?.since && span.until ? { since: span.since, until: span.until } : undefined
}
