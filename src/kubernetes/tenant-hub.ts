import type { WatchHub } from './watch-hub.ts'

/** The hub as a tenant knows it: clusters by the tenant's names for them. */
export function tenantHub(
  hub: WatchHub,
  clusterKey: (name: string) => string,
): Pick<WatchHub, 'subscribe' | 'basePathFor'> {
  return {
    subscribe: (target, listener, onUnavailable) =>
      hub.subscribe({ ...target, cluster: clusterKey(target.cluster) }, listener, onUnavailable),
    basePathFor: (cluster, variables) => hub.basePathFor(clusterKey(cluster), variables),
  }
}
