import type { Clock } from './clock.ts'
import type { WatchSource } from './collection-reader.ts'
import { type KubernetesObject, objectKey } from './kubernetes-object.ts'
import type { ObjectChange } from './object-cache.ts'
import { Reflector, type WatchLogger } from './reflector.ts'
import type { WatchSubscription } from './wait-for-watch.ts'
import { upstreamNamespace, type WatchEvent, type WatchTarget } from './watch-target.ts'

export interface SubscriberCallbacks {
  readonly listener: (event: WatchEvent) => void
  readonly onUnavailable: (error: Error) => void
}

export interface WatchUpstreamStats {
  readonly subscribers: number
  readonly objects: number
  /** Watches opened, beyond the first. */
  readonly reconnects: number
  readonly lists: number
  readonly failures: number
}

const missingMs = 1_000
const missingAgainMs = 5_000

interface Subscriber extends SubscriberCallbacks {
  /** Key of the only object of interest. */
  readonly key: string | undefined
  readonly namespace: string | undefined
  readonly awaited: boolean
  /** Lists that had begun when it came: only a later one is current for it. */
  readonly readingsBefore: number
  /** Whether the snapshot was told: only then changes make sense. */
  joined: boolean
}

export interface WatchUpstreamOptions {
  readonly source: WatchSource
  readonly target: WatchTarget
  readonly streaming: { supported: boolean }
  readonly logger: WatchLogger
  readonly clock: Clock
  readonly random: () => number
  /** Milliseconds that the watch stays after its last subscriber left. */
  readonly lingerMs: number
  readonly onIdle: (upstream: WatchUpstream) => void
}

/** One reflector and all who listen to it. */
export class WatchUpstream {
  readonly #options: WatchUpstreamOptions
  readonly #reflector: Reflector
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

  constructor(options: WatchUpstreamOptions) {
    this.#options = options
    const { source, target, streaming, clock, random, logger } = options
    const { apiVersion, kind, labelSelector, fieldSelector } = target
    this.#reflector = new Reflector({
      collection: {
        source,
        ref: { apiVersion, kind, namespace: upstreamNamespace(target), labelSelector, fieldSelector },
        basePath: target.basePath ?? '',
      },
      slim: !target.whole,
      clock,
      random,
      logger,
      streaming,
      isAwaited: () => this.#awaited > 0,
      onChange: (change) => this.#onChange(change),
      onSynced: (reading) => this.#onSynced(reading),
      onUnavailable: (error) => this.#onUnavailable(error),
    })
  }

  join(target: WatchTarget, callbacks: SubscriberCallbacks): WatchSubscription {
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

  stats(): WatchUpstreamStats {
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
    const { clock, lingerMs, onIdle } = this.#options
    this.#cancelLinger = clock.after(lingerMs, () => onIdle(this))
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
      this.#options.logger.warn('A watch is interrupted; retrying', {
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
    const waitMs = Math.max(missingMs, this.#checkedAt + missingAgainMs - this.#options.clock.now())
    this.#cancelCheck ??= this.#options.clock.after(waitMs, () => {
      this.#cancelCheck = undefined
      this.#checkedAt = this.#options.clock.now()
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
      this.#options.logger.warn('A watch listener failed', { kind: this.#options.target.kind, error })
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
