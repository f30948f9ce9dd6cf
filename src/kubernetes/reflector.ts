import { type Backoff, createBackoff } from './backoff.ts'
import type { Clock } from './clock.ts'
import { ClusterError, ExpiredError } from './cluster-errors.ts'
import {
  type Collection,
  openWatch,
  readPages,
  type Reading,
  requireObject,
  requireVersion,
  streamList,
  throwIfError,
} from './collection-reader.ts'
import { compareVersions } from './kubernetes-object.ts'
import { ObjectCache, type ObjectChange } from './object-cache.ts'
import { MalformedWatchError, type RawWatchEvent } from './watch-lines.ts'

export interface WatchLogger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface ReflectorOptions {
  readonly collection: Collection
  /** Keep only what status needs. */
  readonly slim: boolean
  readonly clock: Clock
  readonly random: () => number
  readonly logger: WatchLogger
  /** Shared by the reflectors of one cluster: whether it streams lists. */
  readonly streaming: { supported: boolean }
  /** Whether a wait depends on this: then the list is read again every 30 s, whatever the watch says. */
  readonly isAwaited: () => boolean
  readonly onChange: (change: ObjectChange) => void
  /** The cache is complete, as of when reading `reading` began (see `readingsBegun`). Called after each list. */
  readonly onSynced: (reading: number) => void
  /** An attempt failed; the next one follows by itself. */
  readonly onUnavailable: (error: Error) => void
}

export interface ReflectorStats {
  /** Watches opened. */
  readonly watches: number
  /** Lists read to their end. */
  readonly lists: number
  /** Watches and first lists that failed. */
  readonly failures: number
}

// A server sends a bookmark every minute: two missing ones and a bit mean that nothing comes through.
const silenceMs = 150_000
const relistMs = 30_000
// With these, a change is seen 36 + 15 + 5 s late at most when the watch and the first list's connection are both dead.
const relistTimeoutMs = 15_000
const relistRetryMs = 5_000
const instantMs = 1_000
const instantEndsUntilList = 3
const expiredAgainMs = 5_000
const longestRetryAfterMs = 120_000

interface RunningReading extends Reading {
  readonly ordinal: number
  readonly newestBefore: string
}

/** Why we ended a watch: not a failure, go on at once. */
class WatchEnded extends Error {}

/**
 * Keeps a cache of one collection equal to the server's state, for as long as it runs, whatever the connection does.
 *
 * Guarantee: every state that lasts is told, deletions too, each once and never an older one after a newer one. Price:
 * states between two lists may be skipped (as with every Kubernetes client); one connection; while somebody waits, a
 * list every 30 s.
 */
export class Reflector {
  readonly cache: ObjectCache
  readonly #options: ReflectorOptions
  readonly #backoff: Backoff
  readonly #stopping = new AbortController()
  /** Where a watch goes on; `undefined` asks for a list first. */
  #version: string | undefined
  /** The newest version ever seen: a list that began later and is older means that the server's history was set back. */
  #newest = ''
  #synced = false
  #reading = false
  #session = new AbortController()
  #instantEnds = 0
  #expiredAt = Number.NEGATIVE_INFINITY
  #notBefore = Number.NEGATIVE_INFINITY
  #cancelRelist: () => void = () => {}
  #relist: { readonly abort: AbortController; readonly done: Promise<void> } | undefined
  #running: Promise<void> | undefined
  #readingsBegun = 0
  #stats = { watches: 0, lists: 0, failures: 0 }

  constructor(options: ReflectorOptions) {
    this.#options = options
    const { apiVersion, kind } = options.collection.ref
    this.cache = new ObjectCache({ apiVersion, kind }, options.slim)
    this.#backoff = createBackoff(options.clock, options.random)
  }

  /** Whether the cache is complete. */
  get synced(): boolean {
    return this.#synced
  }

  /** How many lists have been begun. A later one shows everything that was written before now. */
  get readingsBegun(): number {
    return this.#readingsBegun
  }

  get stats(): ReflectorStats {
    return { ...this.#stats }
  }

  start(): void {
    if (this.#running) return
    this.#running = this.#run()
    this.#scheduleRelist(relistMs)
  }

  /** Keeps whole objects from now on. Not `synced` until those at rest are whole too. */
  keepWhole(): void {
    if (!this.cache.slim) return
    this.cache.keepWhole()
    this.#synced = false
    this.#version = undefined
    this.#session.abort(new WatchEnded('whole objects are wanted'))
  }

  /** Reads the list again now, if it is awaited, and unless it is being read. */
  readSoon(): void {
    if (this.#relist || this.#stopping.signal.aborted) return
    this.#cancelRelist()
    this.#startRelist()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new WatchEnded('stopped'))
    this.#cancelRelist()
    this.#session.abort(this.#stopping.signal.reason)
    this.#relist?.abort.abort()
    await this.#relist?.done
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const session = new AbortController()
      this.#session = session
      try {
        const events = this.#version === undefined ? await this.#readAll(session.signal) : undefined
        await this.#follow(events ?? (await this.#openWatch(session.signal)), session)
      } catch (error) {
        // Why we ended it tells more than how the source reports that.
        await this.#recover(session.signal.aborted ? session.signal.reason : error)
      } finally {
        session.abort(new WatchEnded('over'))
      }
    }
  }

  /** Fills the cache. Returns the watch that goes on from there, when the list was the beginning of one. */
  async #readAll(signal: AbortSignal): Promise<AsyncIterator<RawWatchEvent> | undefined> {
    const { collection, streaming } = this.#options
    // One reading at a time: the cache has one replacement, and an older list must not come after a newer one.
    this.#relist?.abort.abort()
    await this.#relist?.done
    this.#reading = true
    try {
      const reading = this.#beginReading()
      if (streaming.supported) {
        this.#stats.watches += 1
        const streamed = await streamList(collection, reading, { ...this.#options, signal })
        if (streamed) {
          this.#adopt(reading, streamed.version)
          return streamed.events
        }
        streaming.supported = false
      }
      this.#adopt(reading, await readPages(collection, reading, { signal }))
      return undefined
    } finally {
      this.#reading = false
    }
  }

  #beginReading(): RunningReading {
    const { cache } = this
    this.#readingsBegun += 1
    return {
      ordinal: this.#readingsBegun,
      newestBefore: this.#newest,
      begin: () => cache.beginReplacement(),
      add: (object) => cache.addToReplacement(object),
    }
  }

  /** Makes a reading the state. Returns whether it told anything new. */
  #adopt(reading: RunningReading, version: string): boolean {
    const backwards = isNewer(reading.newestBefore, version)
    const changes = this.cache.replace(version, backwards)
    this.#stats.lists += 1
    if (backwards || !isNewer(this.#newest, version)) this.#newest = version
    this.#version = version
    this.#synced = true
    this.#tell(changes)
    this.#options.onSynced(reading.ordinal)
    return backwards || changes.length > 0
  }

  #openWatch(signal: AbortSignal): Promise<AsyncIterator<RawWatchEvent>> {
    const { collection, random } = this.#options
    this.#stats.watches += 1
    return openWatch(collection, {
      signal,
      random,
      ...(this.#version !== undefined && { resourceVersion: this.#version }),
    })
  }

  async #follow(events: AsyncIterator<RawWatchEvent>, session: AbortController): Promise<void> {
    const { clock } = this.#options
    const startedAt = clock.now()
    const startedFrom = this.#version
    let aliveAt = startedAt
    let cancelSilence = (): void => {}
    // One timer that looks back: setting one anew for each of thousands of events would cost more than the events.
    const expectLife = (ms: number): void => {
      cancelSilence = clock.after(ms, () => {
        const leftMs = aliveAt + silenceMs - clock.now()
        if (leftMs > 0) expectLife(leftMs)
        else session.abort(new WatchEnded(`no event or bookmark for ${silenceMs} ms`))
      })
    }
    try {
      expectLife(silenceMs)
      for (let next = await events.next(); !next.done; next = await events.next()) {
        session.signal.throwIfAborted()
        aliveAt = clock.now()
        this.#take(next.value)
      }
    } finally {
      cancelSilence()
      void events.return?.().catch(() => {})
    }
    session.signal.throwIfAborted()
    if (clock.now() - startedAt < instantMs) await this.#noteInstantEnd(this.#version !== startedFrom)
    else this.#instantEnds = 0
  }

  #take(event: RawWatchEvent): void {
    const { type, object } = event
    throwIfError(event, this.#options.clock)
    const version = requireVersion(object)
    if (type === 'ADDED' || type === 'MODIFIED') this.#tell(this.cache.put(requireObject(object)))
    else if (type === 'DELETED') this.#tell(this.cache.remove(requireObject(object)))
    this.#version = version
    if (isNewer(this.#newest, version)) return
    this.#newest = version
    // Nothing from before a list can come any more.
    if (!this.#relist) this.cache.forgetDeletions()
  }

  #tell(changes: readonly ObjectChange[]): void {
    for (const change of changes) this.#options.onChange(change)
  }

  /** Watches that end at once, again and again, do not work at this version: then a list comes first. */
  async #noteInstantEnd(progressed: boolean): Promise<void> {
    this.#instantEnds = progressed ? 0 : this.#instantEnds + 1
    if (this.#instantEnds >= instantEndsUntilList) {
      this.#instantEnds = 0
      this.#version = undefined
    }
    await this.#pause(this.#backoff.next())
  }

  async #recover(error: unknown): Promise<void> {
    if (this.#stopping.signal.aborted || error instanceof WatchEnded) return
    const { clock, logger, onUnavailable, collection } = this.#options
    const failure = error instanceof Error ? error : new Error(String(error))
    this.#stats.failures += 1
    logger.debug('Watch failed', { ...collection.ref, error: failure.message })
    if (failure instanceof ExpiredError) {
      this.#version = undefined
      const again = clock.now() - this.#expiredAt < expiredAgainMs
      this.#expiredAt = clock.now()
      if (!again) return
    }
    // Bytes that make no sense may belong to this version: start over.
    if (failure instanceof MalformedWatchError) this.#version = undefined
    onUnavailable(failure)
    const asked = askedDelay(failure)
    this.#notBefore = clock.now() + asked
    await this.#pause(Math.max(this.#backoff.next(), asked))
  }

  #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { signal } = this.#stopping
    const cancel = this.#options.clock.after(ms, resolve)
    const onAbort = (): void => resolve()
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', onAbort, { once: true })
    return promise.finally(() => {
      cancel()
      signal.removeEventListener('abort', onAbort)
    })
  }

  // Runs beside the watch, whatever state that is in: the answer to connections that are open and dead, to watches at
  // a version from the future, and to servers that lose events.
  #scheduleRelist(ms: number): void {
    const { clock, random } = this.#options
    if (this.#stopping.signal.aborted) return
    this.#cancelRelist = clock.after(ms * (0.8 + 0.4 * random()), () => this.#startRelist())
  }

  #startRelist(): void {
    const { clock, isAwaited } = this.#options
    if (!isAwaited() || !this.#synced || this.#reading || clock.now() < this.#notBefore) {
      this.#scheduleRelist(relistMs)
      return
    }
    const abort = new AbortController()
    const done = this.#readAgain(abort.signal).then((read) => {
      this.#relist = undefined
      this.#scheduleRelist(read ? relistMs : relistRetryMs)
    })
    this.#relist = { abort, done }
  }

  async #readAgain(signal: AbortSignal): Promise<boolean> {
    const { collection, logger, clock } = this.#options
    const reading = this.#beginReading()
    try {
      const version = await readPages(collection, reading, { signal, timeoutMs: relistTimeoutMs })
      signal.throwIfAborted()
      const follows = this.#version
      const told = this.#adopt(reading, version)
      // What the list told first, the watch may never tell: let it start anew, from here. Otherwise it goes on.
      if (told) this.#session.abort(new WatchEnded('the list was ahead of the watch'))
      else this.#version = follows
      return true
    } catch (error) {
      logger.debug('List failed', { ...collection.ref, error: String(error) })
      this.#notBefore = Math.max(this.#notBefore, clock.now() + askedDelay(error))
      return false
    }
  }
}

/** What `Retry-After` asks, within reason. */
function askedDelay(error: unknown): number {
  return error instanceof ClusterError ? Math.min(error.retryAfterMs ?? 0, longestRetryAfterMs) : 0
}

function isNewer(version: string, than: string): boolean {
  return (compareVersions(version, than) ?? 0) > 0
}
