import type { Clock } from './clock.ts'
import type { Cluster, CollectionRef } from './cluster.ts'
import { ClusterServerError, ExpiredError, InvalidObjectError } from './cluster-errors.ts'
import { isKubernetesObject, isRecord, type KubernetesObject } from './kubernetes-object.ts'
import { statusToError } from './status-to-error.ts'
import { MalformedWatchError, type RawWatchEvent } from './watch-lines.ts'

/** Where a collection is read from: a cluster, or a scripted fake. */
export type WatchSource = Pick<Cluster, 'list' | 'watch'>

export interface Collection {
  readonly source: WatchSource
  readonly ref: CollectionRef
  readonly basePath: string
}

/** One reading of a whole collection. It may begin twice: what the first beginning collected is void. */
export interface Reading {
  begin(): void
  add(object: KubernetesObject): void
}

const pageSize = 500
// No cluster has as many of one kind; a server that says so would fill our memory.
const mostObjects = 500_000
/** Milliseconds until a watch must have opened. */
const openTimeoutMs = 30_000
// A server that overlooks the wish for a streamed list sends the state, and then what happens: either silence, or
// changes for ever.
const streamSilenceMs = 10_000
const streamLongestMs = 60_000

/** Reads page by page, consistently. Returns the version that the pages show: where a watch goes on. */
export async function readPages(
  collection: Collection,
  reading: Reading,
  options: { readonly signal: AbortSignal; readonly timeoutMs?: number },
): Promise<string> {
  try {
    return await readPagesOf(collection, reading, { ...options, limit: pageSize })
  } catch (error) {
    if (!(error instanceof ExpiredError)) throw error
    // A continue token that expired on the way. One big answer has no token.
    return readPagesOf(collection, reading, { ...options, limit: 0 })
  }
}

async function readPagesOf(
  { source, ref, basePath }: Collection,
  reading: Reading,
  { signal, timeoutMs, limit }: { readonly signal: AbortSignal; readonly timeoutMs?: number; readonly limit: number },
): Promise<string> {
  reading.begin()
  let seen = 0
  for (let continueToken: string | undefined; ;) {
    const page = await source.list(ref, { basePath, limit, continueToken, signal, timeoutMs })
    signal.throwIfAborted()
    seen += page.items.length
    if (seen > mostObjects) throw tooMany(ref)
    for (const item of page.items) reading.add(item)
    continueToken = page.continueToken
    if (continueToken === undefined) return page.resourceVersion
  }
}

function tooMany({ kind }: CollectionRef): Error {
  return new ClusterServerError(`The server lists more than ${mostObjects} objects of kind ${kind}.`)
}

export interface WatchOpening {
  readonly signal: AbortSignal
  readonly random: () => number
  /** Without it, the watch begins with the state (a streamed list). */
  readonly resourceVersion?: string
}

export async function openWatch(
  { source, ref, basePath }: Collection,
  { signal, random, resourceVersion }: WatchOpening,
): Promise<AsyncIterator<RawWatchEvent>> {
  const stream = await source.watch(ref, {
    basePath,
    signal,
    timeoutMs: openTimeoutMs,
    // As client-go: spread over 5 to 10 minutes, so that not all watches end together.
    timeoutSeconds: Math.round(300 * (1 + random())),
    ...(resourceVersion === undefined ? { initialEvents: true } : { resourceVersion }),
  })
  return stream[Symbol.asyncIterator]()
}

/**
 * Reads the state as the first events of a watch, which the server has cheaper than a list and which then goes on.
 * `undefined` when the server cannot: it says so (422), or it ignores the wish and the end never comes.
 */
export async function streamList(
  collection: Collection,
  reading: Reading,
  options: { readonly signal: AbortSignal; readonly random: () => number; readonly clock: Clock },
): Promise<{ readonly version: string; readonly events: AsyncIterator<RawWatchEvent> } | undefined> {
  reading.begin()
  const attempt = new AbortController()
  const signal = AbortSignal.any([options.signal, attempt.signal])
  const events = await openWatch(collection, { signal, random: options.random }).catch((error: unknown) => {
    if (error instanceof InvalidObjectError) return undefined
    throw error
  })
  if (!events) return undefined
  const latest = options.clock.now() + streamLongestMs
  let seen = 0
  for (;;) {
    const next = await nextInTime(events, { clock: options.clock, latest })
    options.signal.throwIfAborted()
    if (next === 'silent') {
      attempt.abort()
      return undefined
    }
    if (next.done) throw new MalformedWatchError('a streamed list ended in the middle')
    const { type, object } = next.value
    throwIfError(next.value, options.clock)
    if (type !== 'BOOKMARK') {
      seen += 1
      if (seen > mostObjects) {
        attempt.abort()
        throw tooMany(collection.ref)
      }
      reading.add(requireObject(object))
    } else if (endsInitialEvents(object)) {
      return { version: requireVersion(object), events }
    }
  }
}

async function nextInTime(
  events: AsyncIterator<RawWatchEvent>,
  { clock, latest }: { readonly clock: Clock; readonly latest: number },
): Promise<IteratorResult<RawWatchEvent> | 'silent'> {
  const { promise: silent, resolve } = Promise.withResolvers<'silent'>()
  const cancel = clock.after(Math.min(streamSilenceMs, latest - clock.now()), () => resolve('silent'))
  const next = events.next()
  // When silence wins, nobody asks for this event any more, nor for its failure.
  next.catch(() => {})
  return Promise.race([next, silent]).finally(cancel)
}

/** An ERROR event is a refusal under HTTP 200. */
export function throwIfError({ type, object }: RawWatchEvent, clock: Clock): void {
  if (type === 'ERROR') throw statusToError(500, object, { now: clock.now() })
}

export function requireObject(object: unknown): KubernetesObject {
  if (!isKubernetesObject(object)) throw new MalformedWatchError('a watch event holds no object')
  return object
}

export function requireVersion(object: unknown): string {
  const version = metadataOf(object)?.['resourceVersion']
  if (typeof version !== 'string' || version === '')
    throw new MalformedWatchError('a watch event has no resourceVersion')
  return version
}

function endsInitialEvents(object: unknown): boolean {
  const annotations = metadataOf(object)?.['annotations']
  return isRecord(annotations) && annotations['k8s.io/initial-events-end'] === 'true'
}

function metadataOf(object: unknown): Readonly<Record<string, unknown>> | undefined {
  const metadata = isRecord(object) ? object['metadata'] : undefined
  return isRecord(metadata) ? metadata : undefined
}
