import { sql } from 'kysely'
import type { Placement } from '../approvals/policy.ts'
import type { Transaction } from '../database/database.ts'
import type { AcceptRow } from './accept-tasks.sql.ts'

export interface FoundPlacement {
  /** Null: there is a record, and nobody knows any more where it was placed. */
  readonly placement: Placement | null
}

/** Where targets that exist were placed when they were made, by their index. Rows bring their own tenant. */
export async function readPlacements(
  tx: Transaction,
  rows: readonly Pick<AcceptRow, 'tenant' | 'target'>[],
): Promise<Map<number, FoundPlacement>> {
  const targets = rows.flatMap(({ tenant, target }, idx) => (target === null ? [] : [{ idx, tenant, target }]))
  if (targets.length === 0) return new Map()
  const { rows: found } = await sql<{ idx: number; placement: Placement | null }>`
    select idx, placement from sluice.target_placements(${JSON.stringify(targets)}::jsonb)`.execute(tx)
  return new Map(found.map(({ idx, placement }) => [idx, { placement }]))
}
