import { z } from 'zod'
import {
  type CheckedCluster,
  checkedClusterSchema,
  type Cluster,
  type ClusterChange,
  clusterPageSchema,
  clusterSchema,
  type NewCluster,
} from '../contract/cluster.ts'
import type { Exchange } from './exchange.ts'

interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** The clusters that the tenant may use: part of the client. Every method throws as the others do. */
export interface ClusterCalls {
  /** Those for all tenants, and the tenant's own. */
  listClusters(options?: CallOptions): Promise<Cluster[]>
  /** With what a request to it says right now; the answer may take 5 s. */
  getCluster(name: string, options?: CallOptions): Promise<CheckedCluster>
  /** Adds a cluster of the tenant. Its credentials are never shown again. */
  addCluster(cluster: NewCluster, options?: CallOptions): Promise<Cluster>
  /** Gives a cluster of the tenant another kubeconfig, as a whole. */
  replaceCluster(name: string, change: ClusterChange, options?: CallOptions): Promise<Cluster>
  /** Throws its credentials away; tasks that still need it fail with `cluster_removed`. */
  removeCluster(name: string, options?: CallOptions): Promise<void>
}

export function createClusterCalls(exchange: Exchange): ClusterCalls {
  const at = (name: string) => `/clusters/${encodeURIComponent(name)}`
  return {
    listClusters: async ({ signal } = {}) =>
      (await exchange.request(clusterPageSchema, { path: '/clusters', signal })).items,
    getCluster: (name, { signal } = {}) => exchange.request(checkedClusterSchema, { path: at(name), signal }),
    addCluster: (body, { signal } = {}) =>
      exchange.request(clusterSchema, { method: 'POST', path: '/clusters', body, signal }),
    replaceCluster: (name, body, { signal } = {}) =>
      exchange.request(clusterSchema, { method: 'PUT', path: at(name), body, signal }),
    removeCluster: async (name, { signal } = {}) => {
      await exchange.request(z.unknown(), { method: 'DELETE', path: at(name), signal })
    },
  }
}
