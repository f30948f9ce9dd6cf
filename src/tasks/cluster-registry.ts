import { z } from 'zod'
import type { Database, DatabaseRole } from '../database/database.ts'
import type { SignalListener } from '../database/signals.ts'
import { ClusterRemovedError, UnreachableError } from '../kubernetes/cluster-errors.ts'
import type { Clusters } from '../kubernetes/clusters.ts'
import type { RefusedAddresses } from '../kubernetes/local-address.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { Logger } from '../platform/logger.ts'
import { type ChangedCluster, selectChangedClusters } from './registered-clusters.sql.ts'

export interface ClusterRegistryOptions {
  readonly database: Database
  readonly listener: SignalListener
  readonly clusters: Clusters
  /** Undefined: no key is configured, and clusters of tenants cannot be used. */
  readonly secrets: SecretBox | undefined
  readonly logger: Logger
  /** As whom it reads. */
  readonly role: Extract<DatabaseRole, 'sluice_api' | 'sluice_worker'>
  /** Addresses that no tenant's cluster may have. */
  readonly refuse: RefusedAddresses
  /** Milliseconds between looks, behind the signal. @default 5_000 */
  readonly pollMs?: number
}

/** Keeps a process's connections equal to the clusters that tenants have added, changed and removed over the API. */
export interface ClusterRegistry {
  readonly refuse: RefusedAddresses
  start(): Promise<void>
  /** Resolves when the process knows whatever was committed before the call. */
  look(): Promise<void>
  /** Looks when the name is unknown here: it may have been added a moment ago, in another process. */
  expect(tenant: string, name: string): Promise<void>
  stop(): Promise<void>
}

export function createClusterRegistry(options: ClusterRegistryOptions): ClusterRegistry {
  const { database, listener, clusters, logger, role } = options
  /** Revision of each cluster that this process has taken over, by its key. */
  const known = new Map<string, string>()
  let looking: Promise<void> | undefined
  let next: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const readChanges = async (): Promise<void> => {
    const changed = await database.transaction({ role }, (tx) => selectChangedClusters(tx, [...known.values()]))
    for (const cluster of changed) {
      if (stopped) return
      await takeOver(options, cluster)
      known.set(`${cluster.tenant}/${cluster.name}`, cluster.revision)
    }
  }

  const run = (): Promise<void> =>
    (looking = readChanges().finally(() => {
      looking = undefined
    }))

  // A look that is under way may have read before the caller's commit: one more follows it, for all who came meanwhile.
  const look = (): Promise<void> => {
    if (!looking) return run()
    return (next ??= looking
      .catch(() => undefined)
      .then(() => {
        next = undefined
        return run()
      }))
  }

  const lookInBackground = (): void => {
    if (stopped) return
    look().catch((error: unknown) => logger.warn('the clusters of tenants could not be read; trying again', { error }))
  }

  return {
    refuse: options.refuse,
    start: async () => {
      await look()
      listener.on('clusters', lookInBackground)
      timer = setInterval(lookInBackground, options.pollMs ?? 5_000)
    },
    look,
    expect: async (tenant, name) => {
      if (clusters.namesFor(tenant).includes(name)) return
      await look()
    },
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await Promise.allSettled([looking, next])
    },
  }
}

const credentialsSchema = z.object({
  server: z.string(),
  ca: z.string().optional(),
  token: z.string().optional(),
  certificate: z.string().optional(),
  key: z.string().optional(),
})

/** What a sealed secret belongs to: it opens in its own row only. */
export const sealedFor = (tenant: string, name: string): string => `cluster/${tenant}/${name}`

async function takeOver(options: ClusterRegistryOptions, changed: ChangedCluster): Promise<void> {
  const { clusters, logger, refuse } = options
  const { tenant, name, sealed, basePaths, removedBy, removedAt } = changed
  if (sealed === null) {
    const removed = `Cluster ${name} was removed by ${removedBy ?? 'somebody'}, ${removedAt?.toISOString() ?? 'a while ago'}. Add it again, and submit again.`
    await clusters.retire({ tenant, name }, () => new ClusterRemovedError(removed))
    logger.info('a cluster was removed', { tenant, cluster: name })
    return
  }
  try {
    const { server, ca, token, certificate, key } = open(options, changed, sealed)
    const credentials = {
      server,
      refuse,
      ...(ca !== undefined && { ca }),
      ...(token !== undefined && { token }),
      ...(certificate !== undefined && { certificate }),
      ...(key !== undefined && { key }),
    }
    await clusters.set({ tenant, name, credentials, basePath: basePaths })
    logger.info('a cluster was added or changed', { tenant, cluster: name })
  } catch (error) {
    logger.error('the credentials of a cluster cannot be opened: is SLUICE_SECRET_KEY the same for every process?', {
      tenant,
      cluster: name,
      error,
    })
    // Another process may have the right key, and this one after its next start: tried again.
    const why = `The credentials of cluster ${name} cannot be opened by this process; its log says why.`
    await clusters.retire({ tenant, name }, () => new UnreachableError(why))
  }
}

function open({ secrets }: ClusterRegistryOptions, { tenant, name }: ChangedCluster, sealed: string) {
  if (!secrets) throw new Error('no key for secrets is configured')
  return credentialsSchema.parse(JSON.parse(secrets.open(sealed, sealedFor(tenant, name))))
}
