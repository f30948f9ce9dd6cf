import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

export interface ReleasedHold {
  readonly taskId: string
  readonly class: 'short' | 'long'
}

/** Jobs that were held back and may start now, in the order of the queue, as many as there is room for. */
export async function releaseHolds(tx: Transaction, atMost: number): Promise<ReleasedHold[]> {
  const { rows } = await sql<ReleasedHold>`
    select task_id as "taskId", class from sluice.releasable_holds(${atMost}::int)`.execute(tx)
  return rows
}

/** Whether anything is held back for a reason that can go away without its own time coming. */
export async function anyHeld(tx: Transaction): Promise<boolean> {
  const { rows } = await sql<{ any: boolean }>`select exists (select from sluice.holds) as any`.execute(tx)
  return rows[0]?.any === true
}

/** Tells the circuit breaker what an attempt learned about its cluster. */
export async function noteCluster(
  tx: Transaction,
  cluster: string,
  found: { readonly ok: boolean; readonly message: string | null },
): Promise<void> {
  await sql`select sluice.note_cluster(${cluster}, ${found.ok}, ${found.message})`.execute(tx)
}
