import type { DbSession } from '../../db.ts'
import { platformSchema } from '../../platform-schema.sql.ts'

const table = `${platformSchema}.published_events`

/**
 * Remembers an idempotency key. `false` when it is known already. A key that another open transaction is about to
 * publish is waited for: if that one rolls back, this one publishes.
 */
export async function rememberPublished(tx: Pick<DbSession, 'query'>, topic: string, key: string): Promise<boolean> {
  const rows = await tx.query(
    `insert into ${table} (topic, idempotency_key) values ($1, $2) on conflict do nothing returning 1 as inserted`,
    [topic, key],
  )
  return rows.length > 0
}

/** Forgets keys that are older than the window. */
export async function forgetPublished(db: DbSession, windowMs: number): Promise<void> {
  await db.execute(`delete from ${table} where at < now() - $1::float8 * interval '1 millisecond'`, [windowMs])
}

/** The database's time plus a delay: a client's clock may be wrong, and the engine takes whole seconds only. */
export async function timeAfter(tx: Pick<DbSession, 'query'>, delayMs: number): Promise<Date> {
  const [row] = await tx.query<{ at: Date }>(`select clock_timestamp() + $1::float8 * interval '1 millisecond' as at`, [
    delayMs,
  ])
  return row?.at ?? new Date()
}
