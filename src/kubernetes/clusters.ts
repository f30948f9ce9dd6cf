import { type Cluster, connectCluster, type ConnectOptions } from './cluster.ts'
import { ClusterConfigurationError, type ClusterError } from './cluster-errors.ts'

export interface ClusterConfig extends Omit<ConnectOptions, 'context'> {
  /** The only tenant that may use it. @default every tenant */
  readonly tenant?: string | undefined
  readonly context?: string | undefined
}

/** Which cluster: of one tenant, or for all. */
export type ClusterName = Pick<ClusterConfig, 'tenant' | 'name'>

/**
 * The configured clusters. A cluster of one tenant has the key `<tenant>/<name>`, one for all has its name: limits and
 * the watch hub go by the key, since tenants know different clusters by one name.
 */
export interface Clusters {
  /** The cluster of this key. Throws `ClusterConfigurationError` for one that nobody configured, and what it was retired with. */
  get(key: string): Cluster
  has(key: string): boolean
  /** Whether a cluster of this name is one for all tenants. */
  isShared(name: string): boolean
  /**
   * The key of what a tenant calls by this name: its own cluster comes before one for all, and that before one of its own
   * that was retired. Throws for a name that nobody knows.
   */
  keyFor(tenant: string, name: string): string
  /** The names that a tenant may use. */
  namesFor(tenant: string): string[]
  /** Adds a cluster, or gives a known one new credentials. */
  set(config: ClusterConfig): Promise<void>
  /** Ends what is under way with it. Whoever asks for it from now on is told why it is not there. */
  retire(cluster: ClusterName, why: () => ClusterError): Promise<void>
  stop(): Promise<void>
}

export function connectClusters(
  configs: readonly ClusterConfig[],
  shared: Pick<ConnectOptions, 'tracer'> = {},
): Clusters {
  const connect = ({ tenant: _, context, ...options }: ClusterConfig): Cluster =>
    connectCluster({ ...shared, ...options, ...(context !== undefined && { context }) })
  const clusters = new Map(configs.map((config) => [clusterKey(config), connect(config)]))
  const retired = new Map<string, () => ClusterError>()
  const get = (key: string): Cluster => {
    const cluster = clusters.get(key)
    if (cluster) return cluster
    throw retired.get(key)?.() ?? unknownCluster(key, [...clusters.keys()])
  }
  const isShared = (name: string): boolean => clusters.has(name) && !isOwned(name)
  const namesFor = (tenant: string): string[] => [
    ...new Set([...clusters.keys()].flatMap((key) => (!isOwned(key) ? [key] : ownedName(key, tenant)))),
  ]
  return {
    get,
    namesFor,
    has: (key) => clusters.has(key),
    // A key is no name: it would reach into another tenant.
    isShared,
    keyFor(tenant, name) {
      const own = clusterKey({ tenant, name })
      if (clusters.has(own)) return own
      if (isShared(name)) return name
      if (retired.has(own)) return own
      throw unknownCluster(name, namesFor(tenant))
    },
    async set(config) {
      const key = clusterKey(config)
      const former = clusters.get(key)
      clusters.set(key, connect(config))
      retired.delete(key)
      await former?.stop()
    },
    async retire(cluster, why) {
      const key = clusterKey(cluster)
      const former = clusters.get(key)
      clusters.delete(key)
      retired.set(key, why)
      await former?.stop()
    },
    async stop() {
      await Promise.all([...clusters.values()].map((cluster) => cluster.stop()))
    },
  }
}

function clusterKey({ tenant, name }: ClusterName): string {
  if (!/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(name)) {
    throw new ClusterConfigurationError(
      `"${name}" is no name for a cluster: lower-case letters, digits, - and . (at most 63), beginning and ending with a letter or digit.`,
    )
  }
  return tenant === undefined ? name : `${tenant}/${name}`
}

/** The name behind a key. */
const clusterNameOf = (key: string): string => key.slice(key.indexOf('/') + 1)

const isOwned = (key: string): boolean => key.includes('/')

function ownedName(key: string, tenant: string): string[] {
  return key.startsWith(`${tenant}/`) ? [clusterNameOf(key)] : []
}

function unknownCluster(name: string, known: readonly string[]): ClusterConfigurationError {
  return new ClusterConfigurationError(`There is no cluster "${name}". Configured: ${known.join(', ') || 'none'}.`)
}
