import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** A cluster of a tenant, without its credentials. */
export interface RegisteredClusterRow {
  readonly name: string
  readonly server: string
  readonly authentication: 'token' | 'client_certificate'
  readonly base_paths: string[]
  readonly created_by: string
  readonly created_at: Date
  readonly changed_by: string | null
  readonly changed_at: Date | null
}

const columns = sql.raw('name, server, authentication, base_paths, created_by, created_at, changed_by, changed_at')

export interface ClusterWrite {
  readonly tenant: string
  readonly name: string
  readonly actor: string
  readonly server: string
  readonly authentication: RegisteredClusterRow['authentication']
  readonly sealed: string
  readonly basePaths: readonly string[]
}

/** Of the transaction's tenant, by name. */
export async function selectClusters(tx: Transaction, name?: string): Promise<RegisteredClusterRow[]> {
  const { rows } = await sql<RegisteredClusterRow>`select ${columns} from sluice.clusters
    where tenant_id = current_setting('sluice.tenant') and removed_at is null and (${name ?? null}::text is null or name = ${name ?? null})
    order by name`.execute(tx)
  return rows
}

/** Additions of one tenant come one after the other, or together they could pass its limit. */
export async function lockClusters(tx: Transaction): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('sluice.clusters/' || current_setting('sluice.tenant'), 0))`.execute(
    tx,
  )
}

/** False when the tenant has a cluster of this name. */
export async function insertCluster(tx: Transaction, cluster: ClusterWrite): Promise<boolean> {
  const { tenant, name, actor, server, authentication, sealed, basePaths } = cluster
  const { numAffectedRows } = await sql`insert into sluice.clusters as c
      (tenant_id, name, server, authentication, sealed_credentials, base_paths, created_by)
    values (${tenant}, ${name}, ${server}, ${authentication}, ${sealed}, ${basePaths}::text[], ${actor})
    on conflict (tenant_id, name) do update set server = ${server}, authentication = ${authentication},
      sealed_credentials = ${sealed}, base_paths = ${basePaths}::text[], revision = gen_random_uuid(), created_by = ${actor},
      created_at = clock_timestamp(), changed_by = null, changed_at = null, removed_by = null, removed_at = null
    where c.removed_at is not null`.execute(tx)
  return numAffectedRows === 1n
}

/** False when the tenant has no cluster of this name. */
export async function updateCluster(tx: Transaction, cluster: ClusterWrite): Promise<boolean> {
  const { name, actor, server, authentication, sealed, basePaths } = cluster
  const { numAffectedRows } =
    await sql`update sluice.clusters set server = ${server}, authentication = ${authentication},
      sealed_credentials = ${sealed}, base_paths = ${basePaths}::text[], revision = gen_random_uuid(), changed_by = ${actor},
      changed_at = clock_timestamp()
    where tenant_id = current_setting('sluice.tenant') and name = ${name} and removed_at is null`.execute(tx)
  return numAffectedRows === 1n
}

/** Throws its credentials away; the row says for a while who did. */
export async function markRemoved(tx: Transaction, name: string, actor: string): Promise<boolean> {
  const { numAffectedRows } = await sql`update sluice.clusters set sealed_credentials = null, removed_by = ${actor},
      removed_at = clock_timestamp(), revision = gen_random_uuid()
    where tenant_id = current_setting('sluice.tenant') and name = ${name} and removed_at is null`.execute(tx)
  return numAffectedRows === 1n
}

/** Forgets the tenant's removed clusters, but for the newest. */
export async function deleteOldRemovals(tx: Transaction, keep: number): Promise<void> {
  await sql`delete from sluice.clusters where tenant_id = current_setting('sluice.tenant') and name in (
    select name from sluice.clusters where tenant_id = current_setting('sluice.tenant') and removed_at is not null
    order by removed_at desc offset ${keep})`.execute(tx)
}

export interface ChangedCluster {
  readonly tenant: string
  readonly name: string
  /** Null: removed. */
  readonly sealed: string | null
  readonly basePaths: string[]
  readonly revision: string
  readonly removedBy: string | null
  readonly removedAt: Date | null
}

/** Of every tenant, what the caller does not know yet. */
export async function selectChangedClusters(tx: Transaction, known: readonly string[]): Promise<ChangedCluster[]> {
  const { rows } =
    await sql<ChangedCluster>`select tenant, name, sealed_credentials as sealed, base_paths as "basePaths",
      revision, removed_by as "removedBy", removed_at as "removedAt"
    from sluice.changed_clusters(${known}::uuid[])`.execute(tx)
  return rows
}
