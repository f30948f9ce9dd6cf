import { appendNote } from '../database/append-note.sql.ts'
import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import type { SignalSender } from '../database/signals.ts'
import { checkBasePaths } from '../kubernetes/base-path.ts'
import { parseRestrictedKubeconfig, type StaticCredentials } from '../kubernetes/restricted-kubeconfig.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import { type ClusterRegistry, sealedFor } from './cluster-registry.ts'
import {
  type ClusterWrite,
  deleteOldRemovals,
  insertCluster,
  lockClusters,
  markRemoved,
  type RegisteredClusterRow,
  selectClusters,
  updateCluster,
} from './registered-clusters.sql.ts'

export interface RegisteredClustersOptions {
  readonly database: Database
  readonly signals: SignalSender
  readonly secrets: SecretBox
  /** Whether a cluster of this name is configured for all tenants. */
  isShared(name: string): boolean
  readonly registry: ClusterRegistry
}

/** Who changes what, in which tenant. */
export interface ClusterActor {
  readonly tenant: string
  readonly actor: string
}

export interface GivenCluster {
  readonly name: string
  readonly kubeconfig: string
  readonly context?: string | undefined
  readonly basePaths: readonly string[]
}

/** `name_taken`: the tenant has it, or it is one for all. `too_many`: more than a tenant may have. */
export type Addition = RegisteredClusterRow | 'name_taken' | 'too_many'

const mostClusters = 50
const keptRemovals = 100

/** The tenant's own clusters, by name. */
export function listRegisteredClusters(database: Database, tenant: string): Promise<RegisteredClusterRow[]> {
  return readAsTenant(database, tenant, (tx) => selectClusters(tx))
}

export async function findRegisteredCluster(
  database: Database,
  tenant: string,
  name: string,
): Promise<RegisteredClusterRow | undefined> {
  const [row] = await readAsTenant(database, tenant, (tx) => selectClusters(tx, name))
  return row
}

/** Adds a cluster of the tenant, and returns when this process can use it. Throws `ClusterConfigurationError`. */
export async function addCluster(
  options: RegisteredClustersOptions,
  who: ClusterActor,
  given: GivenCluster,
): Promise<Addition> {
  const write = toWrite(options, who, given)
  // One name, one cluster: what a policy or a limit says of the shared one must not hold for another.
  if (options.isShared(given.name)) return 'name_taken'
  const { database } = options
  const added = await database.transaction(
    { role: 'sluice_api', tenant: who.tenant },
    async (tx): Promise<Addition> => {
      await lockClusters(tx)
      if ((await selectClusters(tx)).length >= mostClusters) return 'too_many'
      if (!(await insertCluster(tx, write))) return 'name_taken'
      await deleteOldRemovals(tx, keptRemovals)
      await appendNote(tx, { type: 'cluster.added', actor: who.actor, data: told(write) })
      const [row] = await selectClusters(tx, given.name)
      if (!row) throw new Error('the cluster that was inserted was not found')
      return row
    },
  )
  if (typeof added !== 'string') await tellProcesses(options)
  return added
}

/** Replaces credentials and base paths as a whole. Undefined when the tenant has no such cluster. */
export async function replaceCluster(
  options: RegisteredClustersOptions,
  who: ClusterActor,
  given: GivenCluster,
): Promise<RegisteredClusterRow | undefined> {
  const write = toWrite(options, who, given)
  const { database } = options
  const changed = await database.transaction({ role: 'sluice_api', tenant: who.tenant }, async (tx) => {
    const [before] = await selectClusters(tx, given.name)
    if (!before || !(await updateCluster(tx, write))) return undefined
    const data = { ...told(write), server_before: before.server }
    await appendNote(tx, { type: 'cluster.changed', actor: who.actor, data })
    return (await selectClusters(tx, given.name))[0]
  })
  if (changed) await tellProcesses(options)
  return changed
}

/** Throws the credentials away. What is under way with the cluster fails with `cluster_removed`. False when there is none. */
export async function removeCluster(
  options: Omit<RegisteredClustersOptions, 'secrets'>,
  { tenant, actor }: ClusterActor,
  name: string,
): Promise<boolean> {
  const removed = await options.database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    if (!(await markRemoved(tx, name, actor))) return false
    await appendNote(tx, { type: 'cluster.removed', actor, data: { name } })
    return true
  })
  if (removed) await tellProcesses(options)
  return removed
}

async function tellProcesses({ signals, registry }: Pick<RegisteredClustersOptions, 'signals' | 'registry'>) {
  signals.send('clusters')
  await registry.look()
}

function toWrite(
  options: RegisteredClustersOptions,
  { tenant, actor }: ClusterActor,
  given: GivenCluster,
): ClusterWrite {
  const { name, kubeconfig, context, basePaths } = given
  const credentials = parseRestrictedKubeconfig(kubeconfig, { context, refuse: options.registry.refuse })
  checkBasePaths(basePaths)
  return {
    tenant,
    name,
    actor,
    server: credentials.server,
    authentication: credentials.token === undefined ? 'client_certificate' : 'token',
    sealed: options.secrets.seal(JSON.stringify(toSealed(credentials)), sealedFor(tenant, name)),
    basePaths,
  }
}

// Which addresses are refused is for the process that connects to say.
const toSealed = ({ refuse: _, ...credentials }: StaticCredentials) => credentials

const told = ({ name, server, authentication, basePaths }: ClusterWrite) => ({
  name,
  server,
  authentication,
  base_paths: basePaths,
})
