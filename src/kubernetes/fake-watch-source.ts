import type { Clock } from './clock.ts'
import type { CallOptions, CollectionRef, ListOptions, ListPage, WatchOptions } from './cluster.ts'
import { ExpiredError, InvalidObjectError, UnreachableError } from './cluster-errors.ts'
import type { WatchSource } from './collection-reader.ts'
import { type KubernetesObject, objectKey } from './kubernetes-object.ts'
import type { RawWatchEvent } from './watch-lines.ts'

/** What an object gets besides its name: fields that a test cares for. */
export interface FakeFields {
  readonly namespace?: string
  readonly spec?: unknown
  readonly status?: unknown
  readonly labels?: Readonly<Record<string, string>>
}

interface HistoryEntry {
  readonly version: number
  readonly event: RawWatchEvent
}

const bookmarkMs = 60_000

/**
 * One collection of an API server, in memory and without a connection, that fails on command: what a reflector is
 * tested against in a thousand histories a minute. Bookmarks come every minute, as from the real one.
 */
export class FakeWatchSource implements WatchSource {
  readonly objects = new Map<string, KubernetesObject>()
  readonly watches = new Set<FakeWatch>()
  /** Every request in order, such as `list`, `list after <token>`, `watch 101`, `stream`. */
  readonly requests: string[] = []
  /** Whether `sendInitialEvents` is understood, refused with 422, or overlooked. */
  streaming: 'offered' | 'refused' | 'overlooked' = 'refused'
  /** How a version from before the history is answered. */
  expiry: 'http' | 'event' = 'event'
  version = 100
  readonly #clock: Clock
  #history: HistoryEntry[] = []
  /** Watches from before this version get 410. */
  #oldest = 0
  #uids = 0
  readonly #failures: { readonly request: 'list' | 'watch'; readonly error: Error }[] = []
  #hanging = new Set<'list' | 'watch'>()
  #endsAtOnce = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#scheduleBookmarks()
  }

  /** Creates the object, or changes it: a change of `spec` raises its generation. */
  put(name: string, fields: FakeFields = {}): KubernetesObject {
    const { namespace, spec, status, labels } = fields
    const key = objectKey({ namespace, name })
    const known = this.objects.get(key)
    const specChanged = spec !== undefined && JSON.stringify(spec) !== JSON.stringify(known?.['spec'])
    const generation = (known?.metadata.generation ?? 1) + (known && specChanged ? 1 : 0)
    this.version += 1
    const object: KubernetesObject = {
      apiVersion: 'test.dev/v1',
      kind: 'Thing',
      ...known,
      metadata: {
        uid: known?.metadata.uid ?? `uid-${++this.#uids}`,
        name,
        ...(namespace !== undefined && { namespace }),
        ...(labels && { labels }),
        generation,
        resourceVersion: String(this.version),
        managedFields: [{ manager: 'test' }],
      },
      ...(spec !== undefined && { spec }),
      ...(status !== undefined && { status }),
    }
    this.objects.set(key, object)
    this.#record({ type: known ? 'MODIFIED' : 'ADDED', object })
    return object
  }

  remove(name: string, namespace?: string): void {
    const key = objectKey({ namespace, name })
    const known = this.objects.get(key)
    if (!known) return
    this.objects.delete(key)
    this.version += 1
    const metadata = { ...known.metadata, resourceVersion: String(this.version) }
    this.#record({ type: 'DELETED', object: { ...known, metadata } })
  }

  /** Fails the next request of that kind. */
  failNext(request: 'list' | 'watch', error: Error): void {
    this.#failures.push({ request, error })
  }

  /** From now on, these requests are not answered: their signal or their time ends them. */
  hang(...requests: ('list' | 'watch')[]): void {
    this.#hanging = new Set(requests)
  }

  /** Takes back every failure that is still to come. Broken watches stay broken. */
  heal(): void {
    this.#failures.length = 0
    this.#hanging.clear()
    this.#endsAtOnce = 0
  }

  /** The next watches end as soon as they were opened. */
  endAtOnce(times: number): void {
    this.#endsAtOnce = times
  }

  /** Open watches break. */
  cut(): void {
    for (const watch of this.watches) watch.fail(new Error('socket hang up'))
  }

  /** Open watches end as if their time were over. */
  end(): void {
    for (const watch of this.watches) watch.end()
  }

  /** Open watches stay open, and tell nothing any more. */
  silence(): void {
    for (const watch of this.watches) watch.silenced = true
  }

  /** Open watches lose their next events, and go on. */
  loseNext(): void {
    for (const watch of this.watches) watch.losing = true
  }

  /** Forgets all history; open watches get 410 when they were told to. */
  expire(options: { readonly openToo: boolean } = { openToo: true }): void {
    this.#oldest = this.version + 1
    this.#history = []
    if (options.openToo) for (const watch of this.watches) watch.push(expiredEvent())
  }

  /** An event that makes no sense, in every open watch. */
  garble(): void {
    for (const watch of this.watches) watch.push({ type: 'MODIFIED', object: { kind: 'Thing' } })
  }

  /** As after restoring a backup: all versions are lower, and open watches break. */
  rewind(by: number): void {
    this.version -= by
    for (const [key, object] of this.objects) {
      const resourceVersion = String(Number(object.metadata.resourceVersion) - by)
      this.objects.set(key, { ...object, metadata: { ...object.metadata, resourceVersion } })
    }
    this.#history = []
    this.#oldest = 0
    this.cut()
  }

  bookmark(): void {
    for (const watch of this.watches) if (!watch.fromTheFuture) watch.push(bookmarkAt(this.version))
  }

  async list(_: CollectionRef, { limit = 500, continueToken, signal, timeoutMs }: ListOptions = {}): Promise<ListPage> {
    this.requests.push(continueToken === undefined ? 'list' : `list after ${continueToken}`)
    await this.#meetFaults('list', { signal, timeoutMs })
    const [version, skipped] = continueToken?.split('/').map(Number) ?? [this.version, 0]
    if (version !== undefined && version < this.#oldest - 1)
      throw new ExpiredError('The provided continue parameter is too old.')
    const all = [...this.objects.values()].toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    const items = limit > 0 ? all.slice(skipped, (skipped ?? 0) + limit) : all
    const next = (skipped ?? 0) + items.length
    return {
      items,
      resourceVersion: String(version),
      continueToken: next < all.length ? `${version}/${next}` : undefined,
    }
  }

  async watch(_: CollectionRef, options: WatchOptions): Promise<AsyncIterable<RawWatchEvent>> {
    this.requests.push(options.initialEvents ? 'stream' : `watch ${options.resourceVersion}`)
    await this.#meetFaults('watch', options)
    if (options.initialEvents && this.streaming === 'refused')
      throw new InvalidObjectError('sendInitialEvents is forbidden')
    const watch = new FakeWatch(options.signal, () => this.watches.delete(watch))
    if (options.initialEvents) this.#sendState(watch)
    else this.#sendHistory(watch, Number(options.resourceVersion))
    this.watches.add(watch)
    if (this.#endsAtOnce > 0) {
      this.#endsAtOnce -= 1
      watch.end()
    }
    return watch
  }

  #sendState(watch: FakeWatch): void {
    for (const object of this.objects.values()) watch.push({ type: 'ADDED', object })
    if (this.streaming === 'offered') watch.push(bookmarkAt(this.version, { 'k8s.io/initial-events-end': 'true' }))
  }

  #sendHistory(watch: FakeWatch, since: number): void {
    if (since > this.version) {
      watch.fromTheFuture = true
      return
    }
    if (since < this.#oldest - 1) {
      if (this.expiry === 'http') throw new ExpiredError('too old resource version')
      watch.push(expiredEvent())
      return
    }
    for (const { version, event } of this.#history) if (version > since) watch.push(event)
  }

  #record(event: RawWatchEvent): void {
    this.#history.push({ version: this.version, event })
    for (const watch of this.watches) {
      if (watch.losing) watch.losing = false
      else if (!watch.fromTheFuture) watch.push(event)
    }
  }

  async #meetFaults(request: 'list' | 'watch', { signal, timeoutMs = 30_000 }: CallOptions): Promise<void> {
    signal?.throwIfAborted()
    const at = this.#failures.findIndex((each) => each.request === request)
    const [failure] = at >= 0 ? this.#failures.splice(at, 1) : []
    if (failure) throw failure.error
    if (this.#hanging.has(request)) {
      await this.#neverAnswer(signal, timeoutMs)
    }
  }

  async #neverAnswer(signal: AbortSignal | undefined, timeoutMs: number): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>()
    const cancel = this.#clock.after(timeoutMs, () => reject(new UnreachableError(`no answer within ${timeoutMs} ms`)))
    signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    return promise.finally(cancel)
  }

  #scheduleBookmarks(): void {
    this.#clock.after(bookmarkMs, () => {
      this.bookmark()
      this.#scheduleBookmarks()
    })
  }
}

/** One open watch: a queue that its reader empties. */
class FakeWatch implements AsyncIterable<RawWatchEvent> {
  silenced = false
  losing = false
  fromTheFuture = false
  readonly #queue: RawWatchEvent[] = []
  readonly #onClose: () => void
  #wake: () => void = () => {}
  #over: { readonly error?: Error } | undefined

  constructor(signal: AbortSignal | undefined, onClose: () => void) {
    this.#onClose = onClose
    signal?.addEventListener('abort', () => this.fail(signal.reason as Error), { once: true })
  }

  push(event: RawWatchEvent): void {
    if (this.silenced) return
    this.#queue.push(event)
    this.#wake()
  }

  end(): void {
    this.#over ??= {}
    this.#wake()
  }

  fail(error: Error): void {
    this.#over ??= { error }
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RawWatchEvent> {
    try {
      for (;;) {
        // A broken connection loses what was under way; an ended one delivers it.
        if (this.#over?.error) throw this.#over.error
        const event = this.#queue.shift()
        if (event) yield event
        else if (this.#over) return
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      this.#onClose()
    }
  }
}

function bookmarkAt(version: number, annotations?: Readonly<Record<string, string>>): RawWatchEvent {
  const metadata = { resourceVersion: String(version), ...(annotations && { annotations }) }
  return { type: 'BOOKMARK', object: { kind: 'Thing', apiVersion: 'test.dev/v1', metadata } }
}

function expiredEvent(): RawWatchEvent {
  const message = 'too old resource version'
  return {
    type: 'ERROR',
    object: { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason: 'Expired', code: 410 },
  }
}
