import { type Cluster, connectCluster, type ConnectOptions } from './cluster.ts'
import { createWatchHub, type WatchHub } from './watch-hub.ts'

export interface ConnectedHub extends WatchHub {
  readonly cluster: Cluster
}

/**
 * A hub of one's own, for a script that has a kubeconfig: the waits take it as they take an operation's or a browser's.
 * Its one cluster is `default`, unless `name` says otherwise.
 */
export function connectHub(options: Omit<ConnectOptions, 'name'> & { readonly name?: string }): ConnectedHub {
  const cluster = connectCluster({ name: 'default', ...options })
  const hub = createWatchHub({
    cluster: (name) => {
      if (name === cluster.name) return cluster
      throw new RangeError(`This hub watches cluster ${cluster.name}, not ${name}.`)
    },
  })
  return {
    ...hub,
    cluster,
    stop: async () => {
      await hub.stop()
      await cluster.stop()
    },
  }
}
