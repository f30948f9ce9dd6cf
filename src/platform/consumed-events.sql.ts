import type { DbSession } from './db.ts'
import { platformSchema } from './platform-schema.sql.ts'

const table = `${platformSchema}.consumed_events`

/** `false` when this consumer has handled the key. One that is being handled right now is waited for. */
export async function rememberConsumed(tx: DbSession, consumer: string, key: string): Promise<boolean> {
  const inserted = await tx.execute(
    `insert into ${table} (consumer, idempotency_key) values ($1, $2) on conflict do nothing`,
    [consumer, key],
  )
  return inserted === 1
}

export async function forgetConsumed(db: DbSession, olderThanMs: number): Promise<number> {
  return db.execute(`delete from ${table} where at < now() - $1::float8 * interval '1 millisecond'`, [olderThanMs])
}
