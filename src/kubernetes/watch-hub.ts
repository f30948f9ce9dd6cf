import { type Clock, systemClock } from './clock.ts'
import type { Cluster, CollectionRef } from './cluster.ts'
import type { WatchSource } from './collection-reader.ts'
import { type KubernetesObject, objectKey } from './kubernetes-object.ts'
import type { ObjectChange } from './object-cache.ts'
import { Reflector, type WatchLogger } from './reflector.ts'
import type { WatchSubscription } from './wait-for-watch.ts'

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
const missingMs = 1_000
const missingAgainMs = 5_000
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

interface Callbacks {
  readonly listener: (event: WatchEvent) => void
  readonly onUnavailable: (error: Error) => void
}

class SharedWatches {
  readonly #options: WatchHubOptions
  readonly #upstreams = new Map<string, Upstream>()
  /** Per control plane, whether it streams lists: found out once. */
  readonly #streaming = new Map<string, { supported: boolean }>()
  readonly #ending = new Set<Promise<void>>()
  #former = { reconnects: 0, lists: 0, failures: 0 }
  #stopped = false

  constructor(options: WatchHubOptions) {
    this.#options = options
  }

  subscribe(target: WatchTarget, callbacks: Callbacks): WatchSubscription {
    if (this.#stopped) throw new Error('The watch hub was stopped.')
    const key = upstreamKey(target)
    let upstream = this.#upstreams.get(key)
    if (!upstream) {
      upstream = this.#open(key, target)
      this.#upstreams.set(key, upstream)
    }
    return upstream.join(target, callbacks)
  }

  #open(key: string, target: WatchTarget): Upstream {
    const { cluster: name, identity, basePath = '' } = target
    const plane = `${name}|${basePath}`
    const streaming = this.#streaming.get(plane) ?? { supported: true }
    this.#streaming.set(plane, streaming)
    // Once now, so that a wrong name fails here.
    this.#options.cluster(name, identity)
    return new Upstream({
      source: this.#sourceOf(name, identity),
      target,
      streaming,
      hub: this.#options,
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

  #retire(upstream: Upstream): void {
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
    namespaceOf(target),
    labelSelector,
    fieldSelector,
  ])
}

function namespaceOf(target: WatchTarget): string | undefined {
  return target.allNamespaces ? undefined : target.namespace
}

interface Subscriber extends Callbacks {
  /** Key of the only object of interest. */
  readonly key: string | undefined
  readonly namespace: string | undefined
  readonly awaited: boolean
  /** Lists that had begun when it came: only a later one is current for it. */
  readonly readingsBefore: number
  /** Whether the snapshot was told: only then changes make sense. */
  joined: boolean
}

interface UpstreamOptions {
  readonly source: WatchSource
  readonly target: WatchTarget
  readonly streaming: { supported: boolean }
  readonly hub: WatchHubOptions
  readonly onIdle: (upstream: Upstream) => void
}

/** One reflector and all who listen to it. */
class Upstream {
  readonly #options: UpstreamOptions
  readonly #reflector: Reflector
  readonly #clock: Clock
  readonly #logger: WatchLogger
  /** Subscribers to one object, by its key: a change finds them among thousands at once. */
  readonly #byKey = new Map<string, Set<Subscriber>>()
  readonly #wide = new Set<Subscriber>()
  #count = 0
  #awaited = 0
  #cancelLinger: () => void = () => {}
  #stopped = false
  #failing = false
  /** The list that the cache shows. */
  #reading = 0
  /** Who asks for an object that the cache does not have: it is gone, or the watch is late. */
  readonly #missing = new Set<Subscriber>()
  #cancelCheck: (() => void) | undefined
  #checkedAt = Number.NEGATIVE_INFINITY

  constructor(options: UpstreamOptions) {
    this.#options = options
    const { hub, target, source } = options
    this.#clock = hub.clock ?? systemClock
    this.#logger = hub.logger ?? silentLogger
    const { apiVersion, kind, labelSelector, fieldSelector } = target
    this.#reflector = new Reflector({
      collection: {
        source,
        ref: { apiVersion, kind, namespace: namespaceOf(target), labelSelector, fieldSelector },
        basePath: target.basePath ?? '',
      },
      slim: !target.whole,
      clock: this.#clock,
      random: hub.random ?? Math.random,
      logger: this.#logger,
      streaming: options.streaming,
      isAwaited: () => this.#awaited > 0,
      onChange: (change) => this.#onChange(change),
      onSynced: (reading) => this.#onSynced(reading),
      onUnavailable: (error) => this.#onUnavailable(error),
    })
  }

  join(target: WatchTarget, callbacks: Callbacks): WatchSubscription {
    const { name, namespace } = target
    const subscriber: Subscriber = {
      ...callbacks,
      key: name === undefined ? undefined : objectKey({ namespace, name }),
      namespace,
      awaited: target.awaited ?? true,
      readingsBefore: this.#reflector.readingsBegun,
      joined: false,
    }
    this.#cancelLinger()
    this.#count += 1
    if (subscriber.awaited) this.#awaited += 1
    this.#setOf(subscriber.key).add(subscriber)
    if (target.whole) this.#reflector.keepWhole()
    this.#reflector.start()
    // Not before `subscribe` has returned: a listener may want to unsubscribe.
    queueMicrotask(() => {
      if (this.#reflector.synced) this.#admit(subscriber)
    })
    let left = false
    return {
      unsubscribe: () => {
        if (left) return
        left = true
        this.#leave(subscriber)
      },
    }
  }

  stats(): Omit<WatchHubStats, 'upstreams'> {
    const { watches, lists, failures } = this.#reflector.stats
    const reconnects = Math.max(0, watches - 1)
    return { subscribers: this.#count, objects: this.#reflector.cache.size, reconnects, lists, failures }
  }

  stop(): Promise<void> {
    this.#stopped = true
    this.#cancelLinger()
    this.#cancelCheck?.()
    return this.#reflector.stop()
  }

  #setOf(key: string | undefined): Set<Subscriber> {
    if (key === undefined) return this.#wide
    let subscribers = this.#byKey.get(key)
    if (!subscribers) {
      subscribers = new Set()
      this.#byKey.set(key, subscribers)
    }
    return subscribers
  }

  #leave(subscriber: Subscriber): void {
    const subscribers = this.#setOf(subscriber.key)
    subscribers.delete(subscriber)
    if (subscriber.key !== undefined && subscribers.size === 0) this.#byKey.delete(subscriber.key)
    this.#count -= 1
    if (subscriber.awaited) this.#awaited -= 1
    if (this.#count > 0 || this.#stopped) return
    const lingerMs = this.#options.hub.lingerMs ?? defaultLingerMs
    this.#cancelLinger = this.#clock.after(lingerMs, () => this.#options.onIdle(this))
  }

  #onChange(change: ObjectChange): void {
    const key = objectKey(change.object.metadata)
    for (const subscriber of this.#byKey.get(key) ?? []) this.#tell(subscriber, change)
    for (const subscriber of this.#wide) if (concerns(subscriber, change.object)) this.#tell(subscriber, change)
  }

  #onSynced(reading: number): void {
    this.#failing = false
    this.#reading = reading
    for (const subscriber of this.#subscribers()) {
      if (subscriber.joined) this.#tellSynced(subscriber)
      else this.#admit(subscriber)
    }
  }

  #onUnavailable(error: Error): void {
    const { target } = this.#options
    // Once per outage: retries go on for as long as it lasts.
    if (!this.#failing) {
      this.#logger.warn('A watch is interrupted; retrying', {
        cluster: target.cluster,
        kind: target.kind,
        error: error.message,
      })
    }
    this.#failing = true
    for (const subscriber of this.#subscribers()) {
      this.#guard(() => subscriber.onUnavailable(error))
    }
  }

  /** Tells the whole state. The cache may hold it since long: a late joiner waits for nobody. */
  #admit(subscriber: Subscriber): void {
    if (subscriber.joined || !this.#isMember(subscriber)) return
    subscriber.joined = true
    for (const object of this.#stateFor(subscriber)) this.#tell(subscriber, { type: 'snapshot', object })
    this.#tellSynced(subscriber)
    if (subscriber.awaited && this.#isMissing(subscriber)) this.#checkSoon(subscriber)
  }

  #isMissing({ key, readingsBefore }: Subscriber): boolean {
    return key !== undefined && this.#reading <= readingsBefore && !this.#reflector.cache.has(key)
  }

  /** What is still missing after a second gets a list, which says for sure; at most one every 5 s for all who ask. */
  #checkSoon(subscriber: Subscriber): void {
    this.#missing.add(subscriber)
    const waitMs = Math.max(missingMs, this.#checkedAt + missingAgainMs - this.#clock.now())
    this.#cancelCheck ??= this.#clock.after(waitMs, () => {
      this.#cancelCheck = undefined
      this.#checkedAt = this.#clock.now()
      const missing = [...this.#missing].some((each) => this.#isMember(each) && this.#isMissing(each))
      this.#missing.clear()
      if (missing) this.#reflector.readSoon()
    })
  }

  #tellSynced(subscriber: Subscriber): void {
    const current = this.#reading > subscriber.readingsBefore
    this.#tell(subscriber, { type: 'synced', found: this.#hasAny(subscriber), current })
  }

  *#stateFor({ key, ...subscriber }: Subscriber): Generator<KubernetesObject> {
    const { cache } = this.#reflector
    if (key === undefined) {
      for (const object of cache.objects()) if (concerns(subscriber, object)) yield object
      return
    }
    const object = cache.get(key)
    if (object) yield object
  }

  #hasAny(subscriber: Subscriber): boolean {
    const { cache } = this.#reflector
    if (subscriber.key !== undefined) return cache.has(subscriber.key)
    if (subscriber.namespace === undefined) return cache.size > 0
    return !this.#stateFor(subscriber).next().done
  }

  #tell(subscriber: Subscriber, event: WatchEvent): void {
    if (!this.#isMember(subscriber) || !subscriber.joined) return
    this.#guard(() => subscriber.listener(event))
  }

  #isMember(subscriber: Subscriber): boolean {
    if (this.#stopped) return false
    return (subscriber.key === undefined ? this.#wide : this.#byKey.get(subscriber.key))?.has(subscriber) ?? false
  }

  // One listener's mistake is not the others' loss.
  #guard(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#logger.warn('A watch listener failed', { kind: this.#options.target.kind, error })
    }
  }

  // A copy: listeners unsubscribe while they are told.
  #subscribers(): Subscriber[] {
    return [...this.#wide, ...[...this.#byKey.values()].flatMap((subscribers) => [...subscribers])]
  }
}

function concerns({ namespace }: Pick<Subscriber, 'namespace'>, object: KubernetesObject): boolean {
  return namespace === undefined || object.metadata.namespace === namespace
}
