import { type Cluster, connectCluster, type ConnectOptions } from './cluster.ts'
import { ClusterConfigurationError } from './cluster-errors.ts'

export interface ClusterConfig extends Omit<ConnectOptions, 'context'> {
  /** The only tenant that may use it. @default every tenant */
  readonly tenant?: string | undefined
  readonly context?: string | undefined
}

/**
 * The configured clusters. A cluster of one tenant has the key `<tenant>/<name>`, one for all has its name: the key is
 * what is stored with a task and its wait, so that nobody resolves a name in another tenant's eyes later.
 */
export interface Clusters {
  /** The cluster of this key. Throws `ClusterConfigurationError` for one that nobody configured. */
  get(key: string): Cluster
  has(key: string): boolean
  /** The key of what a tenant calls by this name: its own cluster comes before one for all. Throws as `get`. */
  keyFor(tenant: string, name: string): string
  /** The names that a tenant may use. */
  namesFor(tenant: string): string[]
  /** Adds a cluster, or gives a known one new credentials. */
  set(config: ClusterConfig): Promise<void>
  /** Ends what is under way with it. */
  remove(key: string): Promise<void>
  stop(): Promise<void>
}

export function connectClusters(configs: readonly ClusterConfig[]): Clusters {
  const clusters = new Map(configs.map((config) => [keyOf(config), connect(config)]))
  const get = (key: string): Cluster => {
    const cluster = clusters.get(key)
    if (cluster) return cluster
    throw unknownCluster(key, [...clusters.keys()])
  }
  const namesFor = (tenant: string): string[] => [
    ...new Set([...clusters.keys()].flatMap((key) => (!isOwned(key) ? [key] : ownedName(key, tenant)))),
  ]
  return {
    get,
    namesFor,
    has: (key) => clusters.has(key),
    keyFor(tenant, name) {
      const own = keyOf({ tenant, name })
      if (clusters.has(own)) return own
      // A key is no name: it would reach into another tenant.
      if (clusters.has(name) && !isOwned(name)) return name
      throw unknownCluster(name, namesFor(tenant))
    },
    async set(config) {
      const key = keyOf(config)
      const former = clusters.get(key)
      clusters.set(key, connect(config))
      await former?.stop()
    },
    async remove(key) {
      const former = clusters.get(key)
      clusters.delete(key)
      await former?.stop()
    },
    async stop() {
      await Promise.all([...clusters.values()].map((cluster) => cluster.stop()))
    },
  }
}

function connect({ tenant: _, context, ...options }: ClusterConfig): Cluster {
  return connectCluster({ ...options, ...(context !== undefined && { context }) })
}

function keyOf({ tenant, name }: Pick<ClusterConfig, 'tenant' | 'name'>): string {
  if (!/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(name)) {
    throw new ClusterConfigurationError(
      `"${name}" is no name for a cluster: lower-case letters, digits, - and . (at most 63), beginning and ending with a letter or digit.`,
    )
  }
  return tenant === undefined ? name : `${tenant}/${name}`
}

const isOwned = (key: string): boolean => key.includes('/')

function ownedName(key: string, tenant: string): string[] {
  return key.startsWith(`${tenant}/`) ? [key.slice(tenant.length + 1)] : []
}

function unknownCluster(name: string, known: readonly string[]): ClusterConfigurationError {
  return new ClusterConfigurationError(`There is no cluster "${name}". Configured: ${known.join(', ') || 'none'}.`)
}
