import { AsyncLocalStorage } from 'node:async_hooks'
import { type Clock, systemClock } from './clock.ts'
import type { Cluster } from './cluster.ts'
import type { WatchSource } from './collection-reader.ts'
import type { WatchLogger } from './reflector.ts'
import type { WatchSubscription } from './wait-for-watch.ts'
import { upstreamNamespace, type WatchEvent, type WatchTarget } from './watch-target.ts'
import { type SubscriberCallbacks, WatchUpstream } from './watch-upstream.ts'

export type { WatchEvent, WatchTarget } from './watch-target.ts'

export interface WatchHubStats {
  /** Watches held open against clusters, those that linger included. */
  readonly upstreams: number
  readonly subscribers: number
  readonly objects: number
  /** Watches opened, beyond the first of each upstream. */
  readonly reconnects: number
  readonly lists: number
  readonly failures: number
}

export interface WatchHub {
  /**
   * Tells the state first (`snapshot`…, `synced`), then every change, never before `subscribe` has returned. Never gives
   * up: while the cluster is away, `onUnavailable` says why, and the next `synced` that it is back.
   */
  subscribe(
    target: WatchTarget,
    listener: (event: WatchEvent) => void,
    onUnavailable?: (error: Error) => void,
  ): WatchSubscription
  basePathFor(cluster: string, variables: Readonly<Record<string, string>>): string
  stats(): WatchHubStats
  /** Ends every watch. No listener is called afterwards. Safe to call twice. */
  stop(): Promise<void>
}

export interface WatchHubOptions {
  /** Throws for a cluster that is not configured, or an identity that may not use it. */
  readonly cluster: (name: string, identity: string | undefined) => Cluster
  readonly logger?: WatchLogger
  readonly clock?: Clock
  readonly random?: () => number
  /** Milliseconds that a watch stays after its last subscriber left. @default 30_000 */
  readonly lingerMs?: number
}

const defaultLingerMs = 30_000
const silentLogger: WatchLogger = { debug: () => {}, warn: () => {} }

/** Shares watches: one upstream per cluster, base path, identity, kind, namespace and selector, however many watch. */
export function createWatchHub(options: WatchHubOptions): WatchHub {
  const hub = new SharedWatches(options)
  return {
    subscribe: (target, listener, onUnavailable = () => {}) => hub.subscribe(target, { listener, onUnavailable }),
    basePathFor: (cluster, variables) => options.cluster(cluster, undefined).basePathFor(variables),
    stats: () => hub.stats(),
    stop: () => hub.stop(),
  }
}

class SharedWatches {
  readonly #options: WatchHubOptions
  readonly #upstreams = new Map<string, WatchUpstream>()
  /** Per control plane, whether it streams lists: found out once. */
  readonly #streaming = new Map<string, { supported: boolean }>()
  readonly #ending = new Set<Promise<void>>()
  /** A watch outlives whoever asked for it first: what it does is no part of that one's request or attempt. */
  readonly #outside = AsyncLocalStorage.snapshot()
  #former = { reconnects: 0, lists: 0, failures: 0 }
  #stopped = false

  constructor(options: WatchHubOptions) {
    this.#options = options
  }

  subscribe(target: WatchTarget, callbacks: SubscriberCallbacks): WatchSubscription {
    if (this.#stopped) throw new Error('The watch hub was stopped.')
    const key = upstreamKey(target)
    let upstream = this.#upstreams.get(key)
    if (!upstream) {
      upstream = this.#outside(() => this.#open(key, target))
      this.#upstreams.set(key, upstream)
    }
    const joined = upstream
    return this.#outside(() => joined.join(target, callbacks))
  }

  #open(key: string, target: WatchTarget): WatchUpstream {
    const { cluster: name, identity, basePath = '' } = target
    const plane = `${name}|${basePath}`
    const streaming = this.#streaming.get(plane) ?? { supported: true }
    this.#streaming.set(plane, streaming)
    // Once now, so that a wrong name fails here.
    this.#options.cluster(name, identity)
    return new WatchUpstream({
      source: this.#sourceOf(name, identity),
      target,
      streaming,
      logger: this.#options.logger ?? silentLogger,
      clock: this.#options.clock ?? systemClock,
      random: this.#options.random ?? Math.random,
      lingerMs: this.#options.lingerMs ?? defaultLingerMs,
      onIdle: (idle) => {
        this.#upstreams.delete(key)
        this.#retire(idle)
      },
    })
  }

  // Asked again for each request: a cluster may get other credentials, and an identity may lose its rights.
  #sourceOf(name: string, identity: string | undefined): WatchSource {
    const { cluster } = this.#options
    return {
      list: async (ref, options) => cluster(name, identity).list(ref, options),
      watch: async (ref, options) => cluster(name, identity).watch(ref, options),
    }
  }

  #retire(upstream: WatchUpstream): void {
    const { reconnects, lists, failures } = upstream.stats()
    this.#former = {
      reconnects: this.#former.reconnects + reconnects,
      lists: this.#former.lists + lists,
      failures: this.#former.failures + failures,
    }
    const ending = upstream.stop().finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
  }

  stats(): WatchHubStats {
    const totals = { upstreams: this.#upstreams.size, subscribers: 0, objects: 0, ...this.#former }
    for (const upstream of this.#upstreams.values()) {
      const { subscribers, objects, reconnects, lists, failures } = upstream.stats()
      totals.subscribers += subscribers
      totals.objects += objects
      totals.reconnects += reconnects
      totals.lists += lists
      totals.failures += failures
    }
    return totals
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const upstream of this.#upstreams.values()) this.#retire(upstream)
    this.#upstreams.clear()
    await Promise.all(this.#ending)
  }
}

function upstreamKey(target: WatchTarget): string {
  const { cluster, basePath = '', identity, apiVersion, kind, labelSelector, fieldSelector } = target
  return JSON.stringify([
    cluster,
    basePath,
    identity,
    apiVersion,
    kind,
    upstreamNamespace(target),
    labelSelector,
    fieldSelector,
  ])
}
