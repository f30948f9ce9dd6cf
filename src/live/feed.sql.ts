import type { Pool } from 'pg'

/** A row of the log as the feed hands it out. */
export interface LoggedEvent {
  readonly seq: bigint
  readonly eventId: string
  readonly taskId: string | null
  readonly tenant: string
  readonly type: string
  readonly actor: string
  readonly at: Date
  readonly payload: Record<string, unknown>
}

// The class of the advisory locks that writers of events hold (migration 0001): they hold
// (class << 48) | last_value, which pg_locks shows as two halves of 32 bits.
const lowWaterClass = 23580

/**
 * The newest number up to which nothing can appear any more. Three separate statements, in this order: the
 * sequence's last value, the smallest lock held by a writer, and then (by the caller) the rows. A writer that has not
 * taken its lock by the second statement takes a number above what the first one read.
 */
export async function readLowWater(pool: Pool): Promise<bigint> {
  const last = await pool.query<{ last_value: string }>('select last_value from sluice.event_seq')
  const held = await pool.query<{ mark: string | null }>(
    `select min(((classid::bigint & 65535) << 32) | objid::bigint)::text as mark from pg_locks
     where locktype = 'advisory' and objsubid = 1 and (classid::bigint >> 16) = $1
       and database = (select oid from pg_database where datname = current_database())`,
    [lowWaterClass],
  )
  const lastValue = BigInt(last.rows[0]?.last_value ?? 0)
  const mark = held.rows[0]?.mark
  return mark !== null && mark !== undefined && BigInt(mark) < lastValue ? BigInt(mark) : lastValue
}

export interface EventRange {
  /** Exclusive. */
  readonly after: bigint
  /** Inclusive. */
  readonly upTo: bigint
  readonly limit: number
  readonly tenant?: string
  readonly taskId?: string
}

/** Events in order of their number. */
export async function readEvents(pool: Pool, range: EventRange): Promise<LoggedEvent[]> {
  const { rows } = await pool.query<Omit<LoggedEvent, 'seq'> & { seq: string }>(
    `select seq, event_id as "eventId", task_id as "taskId", tenant_id as tenant, type, actor, at, payload
     from sluice.domain_events
     where seq > $1 and seq <= $2 and ($3::text is null or tenant_id = $3) and ($4::uuid is null or task_id = $4)
     order by seq limit $5`,
    [range.after.toString(), range.upTo.toString(), range.tenant ?? null, range.taskId ?? null, range.limit],
  )
  return rows.map((row) => ({ ...row, seq: BigInt(row.seq) }))
}

/** The oldest number that the log still holds, or undefined when it holds none. */
export async function readOldest(pool: Pool): Promise<bigint | undefined> {
  const { rows } = await pool.query<{ seq: string | null }>('select min(seq)::text as seq from sluice.domain_events')
  const seq = rows[0]?.seq
  return seq === null || seq === undefined ? undefined : BigInt(seq)
}
