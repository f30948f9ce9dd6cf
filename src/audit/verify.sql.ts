import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { ChainedEvent } from './chain.ts'
import { chainedColumns } from './chained-columns.sql.ts'
import { readByIndex } from './read-by-index.sql.ts'

/** A run of places in a tenant's chain. */
export interface SealRow {
  readonly tenant_id: string
  /** Of its first event. */
  readonly position: string
  readonly events: string
  readonly round: string
  readonly seqs: readonly string[]
  /** 32 bytes for each event; of a dropped run the last one. */
  readonly links: Buffer
  /** The partition that it was dropped with. */
  readonly dropped: string | null
}

export interface Rounds {
  /** Exclusive. */
  readonly after: bigint
  /** Inclusive. */
  readonly upTo: bigint
}

/** What is read of one tenant, or of all. */
export interface Reach extends Rounds {
  readonly tenant: string | undefined
}

/** Keeps retention away until the transaction ends: what the seals say and what the log holds belong together. */
export async function holdLog(tx: Transaction): Promise<void> {
  await readByIndex(tx)
  await sql`select from sluice.domain_events limit 0`.execute(tx)
}

/** More than a round has seals: at least one is read whole. */
const maxSeals = 5_001

/** The round up to which the next so many events are sealed. Undefined behind the last one. */
export async function readNextRound(
  tx: Transaction,
  { tenant, after, events }: { readonly tenant: string | undefined; readonly after: bigint; readonly events: number },
): Promise<bigint | undefined> {
  const { rows } = await sql<{ round: string; events: string; beyond: string | null }>`
    with seals as (
      select round, events from sluice.audit_seals where round > ${after.toString()}::bigint
        and (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null}) order by round limit ${maxSeals}
    ), checkpoints as (
      select round, 1 as events from sluice.audit_checkpoints where round > ${after.toString()}::bigint
        and (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null}) order by round limit ${maxSeals}
    ), found as (select * from seals union all select * from checkpoints)
    select round, sum(events) as events, least(
      (select max(round) from seals having count(*) = ${maxSeals}),
      (select max(round) from checkpoints having count(*) = ${maxSeals})) as beyond
    from found group by round order by round`.execute(tx)
  // The last round of a full page may go on behind it.
  const whole = rows.filter(({ round, beyond }) => beyond === null || BigInt(round) < BigInt(beyond))
  let found = 0
  for (const row of whole) {
    found += Number(row.events)
    if (found >= events) return BigInt(row.round)
  }
  const last = whole.at(-1)
  return last && BigInt(last.round)
}

/** In the order of the chains. */
export async function readSeals(tx: Transaction, { tenant, after, upTo }: Reach): Promise<SealRow[]> {
  const { rows } = await sql<SealRow>`
    select tenant_id, position, events::bigint as events, round, seqs, links, null as dropped from sluice.audit_seals
      where round > ${after.toString()}::bigint and round <= ${upTo.toString()}::bigint
        and (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null})
    union all
    select tenant_id, position, events, round, '{}', link, partition from sluice.audit_checkpoints
      where round > ${after.toString()}::bigint and round <= ${upTo.toString()}::bigint
        and (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null})
    order by round, tenant_id, position`.execute(tx)
  return rows
}

export interface FoundEvent extends ChainedEvent {
  /** Of one that tells of a drop. */
  readonly drop: { readonly position: number; readonly hash: string } | null
}

/** In the order of their numbers. */
export async function readChained(tx: Transaction, { tenant, after, upTo }: Reach): Promise<FoundEvent[]> {
  const { rows } = await sql<FoundEvent>`
    select ${chainedColumns}, case when type = 'log.dropped' then payload end as drop
    from sluice.domain_events where seq > ${after.toString()}::bigint and seq <= ${upTo.toString()}::bigint
      and (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null})
    order by seq`.execute(tx)
  return rows
}

/** What is too new to be sealed yet. */
export async function readTail(
  tx: Transaction,
  { tenant, after }: Pick<Reach, 'tenant' | 'after'>,
): Promise<{ readonly events: number; readonly oldest: Date | null }> {
  const { rows } = await sql<{ events: string; oldest: Date | null }>`
    select count(*) as events, min(at) as oldest from sluice.domain_events where seq > ${after.toString()}::bigint
      and (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null})`.execute(tx)
  const [row] = rows
  return { events: Number(row?.events ?? 0), oldest: row?.oldest ?? null }
}

/** Checkpoints that retention cannot have written: their partition is still there, or was never told as dropped. */
export async function readFalseCheckpoints(
  tx: Transaction,
  tenant: string | undefined,
): Promise<{ readonly tenant_id: string; readonly position: string; readonly partition: string }[]> {
  const { rows } = await sql<{ tenant_id: string; position: string; partition: string }>`
    select tenant_id, position, partition from sluice.audit_checkpoints c
    where (${tenant ?? null}::text is null or tenant_id = ${tenant ?? null})
      and (not exists (select from sluice.log_checkpoints l where l.partition = c.partition)
        or exists (select from pg_class p where p.relname = c.partition and p.relnamespace = 'sluice'::regnamespace))
    order by tenant_id, position`.execute(tx)
  return rows
}

/** How far each chain was dropped. */
export async function readLastCheckpoints(
  tx: Transaction,
  tenant: string | undefined,
): Promise<{ readonly tenant_id: string; readonly position: string; readonly hash: string }[]> {
  const { rows } = await sql<{ tenant_id: string; position: string; hash: string }>`
    select distinct on (tenant_id) tenant_id, position + events - 1 as position, encode(link, 'hex') as hash
    from sluice.audit_checkpoints c where ${tenant ?? null}::text is null or tenant_id = ${tenant ?? null}
    order by tenant_id, c.position desc`.execute(tx)
  return rows
}

/** Whether every drop has been told in the logs of the tenants, and that is sealed. */
export async function allDropsNoted(tx: Transaction, sealedUpTo: bigint): Promise<boolean> {
  const { rows } = await sql`
    select from sluice.log_checkpoints where noted_at is null
    union all select from sluice.domain_events where seq > ${sealedUpTo.toString()}::bigint and type = 'log.dropped'
    limit 1`.execute(tx)
  return rows.length === 0
}

export interface HeadRow {
  readonly tenant_id: string
  readonly position: string
  readonly seq: string
  readonly hash: string
  readonly sealed_at: Date
}

/** The end of each chain: of one tenant, or of all. A chain whose log was dropped whole has none. */
export async function readHeads(tx: Transaction, tenant: string | undefined): Promise<HeadRow[]> {
  const { rows } = await sql<HeadRow>`
    select distinct on (tenant_id) tenant_id, position + events - 1 as position, seqs[events] as seq,
      encode(substring(links from 32 * (events - 1) + 1 for 32), 'hex') as hash, sealed_at
    from sluice.audit_seals where ${tenant ?? null}::text is null or tenant_id = ${tenant ?? null}
    order by tenant_id, audit_seals.position desc`.execute(tx)
  return rows
}
