import type { CollectionRef } from './cluster.ts'
import type { KubernetesObject } from './kubernetes-object.ts'

/** What to watch. */
export interface WatchTarget extends CollectionRef {
  /** Name of the cluster. */
  readonly cluster: string
  /** Only this object; the watch is still shared with all who watch its namespace. */
  readonly name?: string | undefined
  /** A filled base path. @default '' */
  readonly basePath?: string | undefined
  /** In whose name: who may see different things must not share a watch. Passed to `WatchHubOptions.cluster`. */
  readonly identity?: string | undefined
  /** Share one watch over all namespaces instead of one per namespace: for many namespaces. @default false */
  readonly allNamespaces?: boolean | undefined
  /** Whole objects; otherwise only what status needs: see `slimObject`. @default false */
  readonly whole?: boolean | undefined
  /** Whether a wait depends on it: then the list is read again every 30 s, whatever the watch says. @default true */
  readonly awaited?: boolean | undefined
}

export type WatchEvent =
  /** Part of the state at the moment of joining. */
  | { readonly type: 'snapshot'; readonly object: KubernetesObject }
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: KubernetesObject }
  /**
   * All that was told is the whole state: after the snapshot, and after each list. `found`: whether there is any object.
   * `current`: the state was read after the subscription began, so that what is missing does not exist; otherwise it is
   * as old as the watch may be late.
   */
  | { readonly type: 'synced'; readonly found: boolean; readonly current: boolean }

/** The namespace that the upstream of a target covers; `undefined` is all. */
export function upstreamNamespace(target: WatchTarget): string | undefined {
  return target.allNamespaces ? undefined : target.namespace
}
