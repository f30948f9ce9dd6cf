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
