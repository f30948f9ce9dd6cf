import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** Deletes tasks that ended so many days ago, the oldest first. Returns how many. */
export async function dropEndedTasks(tx: Transaction, days: number, atMost: number): Promise<number> {
  const { rows } = await sql<{ n: number }>`
    select sluice.drop_ended_tasks(now() - make_interval(days => ${days}::int), ${atMost}::int) as n`.execute(tx)
  return rows[0]?.n ?? 0
}

/** Drops the oldest partition of the log when it ended so many days ago and every task in it has, too. */
export async function dropSealedPartition(tx: Transaction, days: number): Promise<string | null> {
  const { rows } = await sql<{ name: string | null }>`
    select sluice.drop_sealed_partition(now() - make_interval(days => ${days}::int)) as name`.execute(tx)
  return rows[0]?.name ?? null
}
