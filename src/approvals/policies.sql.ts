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

/** Makes it the active policy, unless it is. Returns its number where it is new. */
export async function insertPolicy(
  tx: Transaction,
  { digest, source, loadedBy }: NewVersion,
): Promise<number | undefined> {
  // Processes that start together bring the same file: one of them writes it.
  await sql`select pg_advisory_xact_lock(hashtextextended('sluice.policies', 0))`.execute(tx)
  const { rows } = await sql<{ version: number }>`insert into sluice.policies (digest, source, loaded_by)
    select ${digest}, ${source}, ${loadedBy}
    where ${digest} is distinct from (select digest from sluice.policies order by version desc limit 1)
    returning version`.execute(tx)
  return rows[0]?.version
}

/** Newest first. */
export function selectPolicies(tx: Transaction, limit: number): Promise<PolicyVersion[]> {
  return tx.selectFrom('policies').selectAll().orderBy('version', 'desc').limit(limit).execute()
}
