import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import type { KubernetesObject } from '../kubernetes/cluster.ts'
import { hideSecretData } from '../kubernetes/hide-secret-data.ts'
import type { WatchEvent, WatchHub, WatchTarget } from '../kubernetes/watch-hub.ts'
import { isRecorded } from './recorded-object.sql.ts'

export interface ResourceFeedOptions {
  readonly hub: WatchHub
  readonly database: Database
}

export interface ResourceSubscription {
  readonly tenant: string
  /** Whether the cluster is the tenant's own: then everything in it is. */
  readonly ownCluster: boolean
  readonly target: WatchTarget
  onEvent(event: WatchEvent): void
  onUnavailable(error: Error): void
}

/**
 * Watches a cluster for a subscriber, through the same shared watches as the workers. In a cluster that several tenants
 * share, a tenant sees the objects that its records know, by uid: what others made does not exist for it.
 */
export function subscribeToResources(options: ResourceFeedOptions, subscription: ResourceSubscription): () => void {
  const { tenant, ownCluster, target } = subscription
  const known = new Set<string>()
  const shown = new Set<string>()
  let open = true
  // Looking a uid up takes a moment: events wait for each other, so that their order stays.
  let last: Promise<void> = Promise.resolve()

  const mayShow = async ({ metadata: { uid } }: KubernetesObject): Promise<boolean> => {
    if (ownCluster || known.has(uid)) return true
    const recorded = await readAsTenant(options.database, tenant, (tx) => isRecorded(tx, tenant, uid))
    if (!recorded) return false
    known.add(uid)
    return true
  }
  const deliver = async (event: WatchEvent): Promise<void> => {
    if (event.type === 'synced') {
      if (open) subscription.onEvent({ ...event, found: shown.size > 0 })
      return
    }
    const allowed = await mayShow(event.object)
    if (!open || !allowed) return
    if (event.type === 'deleted') shown.delete(event.object.metadata.uid)
    else shown.add(event.object.metadata.uid)
    // A permission to look at resources is none to read secrets.
    subscription.onEvent({ ...event, object: hideSecretData(event.object) })
  }

  // Who asks for one object waits for it: what is missing, or silent, is looked for again. Who looks at many only looks.
  const awaited = target.name !== undefined
  const { unsubscribe } = options.hub.subscribe(
    { ...target, whole: true, awaited },
    (event) => {
      last = last.then(() => deliver(event)).catch((error: Error) => subscription.onUnavailable(error))
    },
    (error) => subscription.onUnavailable(error),
  )
  return () => {
    open = false
    unsubscribe()
  }
}
