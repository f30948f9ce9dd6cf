import { type Cluster, connectCluster } from './cluster.ts'
import { ClusterConfigurationError } from './cluster-errors.ts'

export interface ClusterConfig {
  readonly name: string
  /** Path of a kubeconfig (or several, as in `KUBECONFIG`), or its YAML. */
  readonly kubeconfig: string
  readonly context?: string | undefined
  readonly simulated: boolean
}

/** The configured clusters, by name. */
export interface Clusters {
  /** Throws `ClusterConfigurationError` for a name that nobody configured. */
  get(name: string): Cluster
  has(name: string): boolean
  stop(): Promise<void>
}

export function connectClusters(configs: readonly ClusterConfig[]): Clusters {
  const clusters = new Map(
    configs.map(({ name, kubeconfig, context, simulated }) => [
      name,
      connectCluster({ name, kubeconfig, simulated, ...(context !== undefined && { context }) }),
    ]),
  )
  return {
    has: (name) => clusters.has(name),
    get: (name) => {
      const cluster = clusters.get(name)
      if (cluster) return cluster
      const known = [...clusters.keys()].join(', ') || 'none'
      throw new ClusterConfigurationError(`There is no cluster "${name}". Configured: ${known}.`)
    },
    stop: async () => {
      await Promise.all([...clusters.values()].map((cluster) => cluster.stop()))
    },
  }
}
