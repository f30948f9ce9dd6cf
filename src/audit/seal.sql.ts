import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import type { ChainedEvent } from './chain.ts'
import { chainedColumns } from './chained-columns.sql.ts'
import { readByIndex } from './read-by-index.sql.ts'

/** False where another process seals: whoever comes second leaves it to them. */
export async function takeSealing(tx: Transaction): Promise<boolean> {
  await readByIndex(tx)
  const { rows } = await sql<{ taken: boolean }>`
    select pg_try_advisory_xact_lock(hashtextextended('sluice.seal_audit', 0)) as taken`.execute(tx)
  return rows[0]?.taken === true
}

export async function readSealedUpTo(tx: Transaction): Promise<bigint> {
  const { rows } = await sql<{ seq: string }>`select sluice.sealed_up_to() as seq`.execute(tx)
  return BigInt(rows[0]?.seq ?? 0)
}

/** What a seal needs besides the hash: the month that the event lies in. */
export interface UnsealedEvent extends ChainedEvent {
  readonly at: Date
}

/** In the order of their numbers. */
export async function readUnsealed(
  tx: Transaction,
  range: { readonly after: bigint; readonly upTo: bigint; readonly limit: number },
): Promise<UnsealedEvent[]> {
  const { rows } = await sql<UnsealedEvent>`
    select ${chainedColumns}, at from sluice.domain_events where seq > ${range.after.toString()}::bigint and seq <= ${range.upTo.toString()}::bigint
    order by seq limit ${range.limit}`.execute(tx)
  return rows
}

/** The end of a tenant's chain. */
export interface ChainEnd {
  readonly tenant_id: string
  readonly position: string
  readonly link: Buffer
}

/** Of those tenants that have a chain. */
export async function readChainEnds(tx: Transaction, tenants: readonly string[]): Promise<ChainEnd[]> {
  const { rows } = await sql<ChainEnd>`
    select t.tenant_id, e.position, e.link from unnest(${tenants}::text[]) as t(tenant_id) cross join lateral (
      select * from (
        (select position + events - 1 as position, substring(links from 32 * (events - 1) + 1 for 32) as link
          from sluice.audit_seals s where s.tenant_id = t.tenant_id order by s.position desc limit 1)
        union all
        (select position + events - 1, link
          from sluice.audit_checkpoints c where c.tenant_id = t.tenant_id order by c.position desc limit 1)) x
      order by x.position desc limit 1) e`.execute(tx)
  return rows
}

export interface NewSeal {
  readonly tenant_id: string
  readonly position: number
  readonly events: number
  readonly seqs: readonly string[]
  /** In hexadecimal. */
  readonly links: string
  readonly from_at: Date
  readonly to_at: Date
}

export async function insertSeals(tx: Transaction, round: bigint, seals: readonly NewSeal[]): Promise<void> {
  await sql`insert into sluice.audit_seals (tenant_id, position, events, round, seqs, links, from_at, to_at)
    select tenant_id, position, events, ${round.toString()}::bigint, seqs, decode(links, 'hex'), from_at, to_at
    from jsonb_to_recordset(${JSON.stringify(seals)}::jsonb) as x (tenant_id text, position bigint, events int,
      seqs bigint[], links text, from_at timestamptz, to_at timestamptz)`.execute(tx)
}

/** Partitions that were dropped and of which the tenants' logs do not tell yet. */
export async function selectUnnoted(tx: Transaction): Promise<{ readonly partition: string }[]> {
  const { rows } = await sql<{ partition: string }>`
    select partition from sluice.log_checkpoints where noted_at is null order by partition for update`.execute(tx)
  return rows
}

/** Tells every tenant's log how far it was dropped, so that the chain itself says so. */
export async function noteDropped(tx: Transaction, partition: string, by: string): Promise<void> {
  await sql`insert into sluice.domain_events (tenant_id, type, actor, payload)
    select distinct on (c.tenant_id) c.tenant_id, 'log.dropped', ${by}::text, jsonb_build_object('partition', c.partition,
      'position', c.position + c.events - 1, 'hash', encode(c.link, 'hex'))
    from sluice.audit_checkpoints c where c.tenant_id in
      (select d.tenant_id from sluice.audit_checkpoints d where d.partition = ${partition})
    order by c.tenant_id, c.position desc`.execute(tx)
  await sql`update sluice.log_checkpoints set noted_at = clock_timestamp() where partition = ${partition}`.execute(tx)
}
