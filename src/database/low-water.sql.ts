import type { Pool } from 'pg'

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
