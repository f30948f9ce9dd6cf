import type { DbSession } from '../../db.ts'
import { platformSchema } from '../../platform-schema.sql.ts'

const table = `${platformSchema}.cache`

// The database's clock decides, so that processes with different clocks agree. Not now(): that stands still in a transaction.
const live = 'expires_at > clock_timestamp()'

export async function selectEntry(db: DbSession, key: string): Promise<string | undefined> {
  const [row] = await db.query<{ value: string }>(`select value from ${table} where key = $1 and ${live}`, [key])
  return row?.value
}

export async function entryExists(db: DbSession, key: string): Promise<boolean> {
  const rows = await db.query(`select 1 from ${table} where key = $1 and ${live}`, [key])
  return rows.length > 0
}

export async function upsertEntry(db: DbSession, entry: { key: string; text: string; ttlMs: number }): Promise<void> {
  await db.execute(
    `insert into ${table} (key, value, expires_at)
     values ($1, $2, clock_timestamp() + $3::float8 * interval '1 millisecond')
     on conflict (key) do update set value = excluded.value, expires_at = excluded.expires_at`,
    [entry.key, entry.text, entry.ttlMs],
  )
}

/** `true` when the entry was still valid. */
export async function deleteEntry(db: DbSession, key: string): Promise<boolean> {
  const rows = await db.query<{ live: boolean }>(`delete from ${table} where key = $1 returning ${live} as live`, [key])
  return rows[0]?.live ?? false
}

/** Removes expired entries, in portions that hold no lock for long. Returns how many. */
export async function deleteExpired(db: DbSession, limit: number): Promise<number> {
  return db.execute(
    `delete from ${table} where key in
       (select key from ${table} where not (${live}) limit $1)`,
    [limit],
  )
}
