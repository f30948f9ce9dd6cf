import type { Pool } from 'pg'

export interface Lease {
  readonly name: string
  readonly holder: string
  /** By the database's clock. */
  readonly leaseMs: number
}

/**
 * Takes the lease, or renews it, and returns up to which number the log is published; undefined while somebody else
 * holds it. The first one ever begins at `from`.
 */
export async function takeLease(pool: Pool, lease: Lease, from: bigint): Promise<bigint | undefined> {
  const { rows } = await pool.query<{ cursor: string }>(
    `insert into sluice.event_publishers as p (name, cursor, holder, lease_until)
     values ($1, $2, $3, clock_timestamp() + $4::float8 * interval '1 millisecond')
     on conflict (name) do update set holder = excluded.holder, lease_until = excluded.lease_until
     where p.holder = excluded.holder or p.lease_until is null or p.lease_until < clock_timestamp()
     returning cursor`,
    [lease.name, from.toString(), lease.holder, lease.leaseMs],
  )
  return rows[0] && BigInt(rows[0].cursor)
}

/** Moves the cursor on and renews the lease. False when the lease, or the cursor, is somebody else's by now. */
export async function advance(pool: Pool, lease: Lease, step: { from: bigint; to: bigint }): Promise<boolean> {
  const { rowCount } = await pool.query(
    `update sluice.event_publishers set cursor = $4, updated_at = clock_timestamp(),
       lease_until = clock_timestamp() + $5::float8 * interval '1 millisecond'
     where name = $1 and holder = $2 and cursor = $3 and lease_until > clock_timestamp()`,
    [lease.name, lease.holder, step.from.toString(), step.to.toString(), lease.leaseMs],
  )
  return rowCount === 1
}

/** Lets the next one begin at once. */
export async function releaseLease(pool: Pool, { name, holder }: Lease): Promise<void> {
  await pool.query(
    `update sluice.event_publishers set holder = null, lease_until = null where name = $1 and holder = $2`,
    [name, holder],
  )
}

/** The last number that retention has dropped from the log; 0 while it has dropped nothing. */
export async function readDropped(pool: Pool): Promise<bigint> {
  const { rows } = await pool.query<{ seq: string }>(
    'select coalesce(max(to_seq), 0)::text as seq from sluice.log_checkpoints',
  )
  return BigInt(rows[0]?.seq ?? 0)
}
