import type { SimulatedClock } from './clock.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import type { ObjectStore, StoreEvent } from './object-store.ts'

export interface WatchHistoryOptions {
  /** Milliseconds that an event is kept at least. @default 75_000 */
  readonly historyMs?: number
  /** Events per resource that are kept at least. @default 100 */
  readonly historyEvents?: number
}

interface Kept {
  readonly event: StoreEvent
  readonly at: number
}

interface History {
  readonly kept: Kept[]
  /** Index of the first event that still counts; what stands before it is removed now and then. */
  start: number
  /** A watch or a page at an older version than this cannot be served. */
  oldest: number
}

/** The recent events of each resource, and who wants the next ones. */
export class WatchCache {
  readonly #histories = new Map<string, History>()
  readonly #listeners = new Map<string, Set<(event: StoreEvent) => void>>()
  readonly #store: ObjectStore
  readonly #clock: SimulatedClock
  readonly #historyMs: number
  readonly #historyEvents: number
  #floor: number

  constructor(store: ObjectStore, clock: SimulatedClock, options: WatchHistoryOptions = {}) {
    this.#store = store
    this.#clock = clock
    this.#historyMs = options.historyMs ?? 75_000
    this.#historyEvents = options.historyEvents ?? 100
    this.#floor = store.version
    store.subscribe((event) => this.#add(event))
  }

  /** Events after `version`, or undefined when that is too long ago. */
  since(resource: string, version: number): readonly StoreEvent[] | undefined {
    const history = this.#of(resource)
    if (version < history.oldest) return undefined
    const events: StoreEvent[] = []
    for (let index = history.kept.length - 1; index >= history.start; index -= 1) {
      const event = history.kept[index]?.event
      if (event === undefined || event.version <= version) break
      events.push(event)
    }
    return events.reverse()
  }

  oldest(resource: string): number {
    return this.#of(resource).oldest
  }

  /** The objects as they were at `version`, or undefined when that is too long ago. */
  objectsAt(resource: string, version: number): ReadonlyMap<string, KubernetesObject> | undefined {
    if (version >= this.#store.version) return this.#store.objects(resource)
    const events = this.since(resource, version)
    if (events === undefined) return undefined
    if (events.length === 0) return this.#store.objects(resource)
    const objects = new Map(this.#store.objects(resource))
    for (const event of events.toReversed()) {
      if (event.previous === undefined) objects.delete(event.key)
      else objects.set(event.key, event.previous)
    }
    return objects
  }

  subscribe(resource: string, listener: (event: StoreEvent) => void): () => void {
    let listeners = this.#listeners.get(resource)
    if (listeners === undefined) {
      listeners = new Set()
      this.#listeners.set(resource, listeners)
    }
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Forgets every event, as a restart or a compaction does: older watches and pages get 410. */
  dropHistory(): void {
    this.#floor = this.#store.version
    this.#histories.clear()
  }

  #add(event: StoreEvent): void {
    const history = this.#of(event.resource)
    const now = this.#clock.now()
    history.kept.push({ event, at: now })
    this.#trim(history, now)
    for (const listener of this.#listeners.get(event.resource) ?? []) listener(event)
  }

  #trim(history: History, now: number): void {
    for (;;) {
      const first = history.kept[history.start]
      if (first === undefined) break
      if (history.kept.length - history.start <= this.#historyEvents || first.at > now - this.#historyMs) break
      history.oldest = first.event.version
      history.start += 1
    }
    if (history.start < 1_000 || history.start < history.kept.length / 2) return
    history.kept.splice(0, history.start)
    history.start = 0
  }

  #of(resource: string): History {
    let history = this.#histories.get(resource)
    if (history === undefined) {
      history = { kept: [], start: 0, oldest: this.#floor }
      this.#histories.set(resource, history)
    }
    return history
  }
}
