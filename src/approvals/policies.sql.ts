import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

export interface PolicyVersion {
  readonly version: number
  readonly digest: string
  readonly source: string
  readonly loaded_by: string
  readonly loaded_at: Date
}

export interface NewVersion {
  readonly digest: string
  readonly source: string
  readonly loadedBy: string
}

/** Makes it the active policy, unless it is. */
export async function insertPolicy(tx: Transaction, { digest, source, loadedBy }: NewVersion): Promise<void> {
  // Processes that start together bring the same file: one of them writes it.
  await sql`select pg_advisory_xact_lock(hashtextextended('sluice.policies', 0))`.execute(tx)
  await sql`insert into sluice.policies (digest, source, loaded_by)
    select ${digest}, ${source}, ${loadedBy}
    where ${digest} is distinct from (select digest from sluice.policies order by version desc limit 1)`.execute(tx)
}

/** Newest first. */
export function selectPolicies(tx: Transaction, limit: number): Promise<PolicyVersion[]> {
  return tx.selectFrom('policies').selectAll().orderBy('version', 'desc').limit(limit).execute()
}
