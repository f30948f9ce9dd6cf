import type { ServerResponse } from 'node:http'
import type { RequestTarget } from './api-request.ts'
import { isTrue } from './api-request.ts'
import type { SimulatedClock } from './clock.ts'
import { forbiddenField, invalidObject } from './field-error.ts'
import { textOf, type JsonObject } from './json.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { jsonOf, type ObjectStore, type StoreEvent } from './object-store.ts'
import { inVersion } from './object-writer.ts'
import { parseVersion, type Selection } from './paged-list.ts'
import { objectText, type Representation } from './representation.ts'
import { apiVersionOf, resourceId } from './resource-kind.ts'
import { expired, tooLargeResourceVersion } from './status-error.ts'
import { makeTable } from './table.ts'
import type { WatchCache } from './watch-cache.ts'

export interface WatchOptions {
  /** Milliseconds between bookmarks. @default 60_000 */
  readonly bookmarkMs: number
  /** Whether `sendInitialEvents` is offered; an API server without it answers 422. @default true */
  readonly watchList: boolean
  readonly random: () => number
  readonly clock: SimulatedClock
}

export interface WatchRequest {
  readonly target: RequestTarget
  readonly selection: Selection
  readonly representation: Representation
  readonly query: URLSearchParams
  readonly response: ServerResponse
}

/** A reader this far behind is cut off, as the API server does. */
const mostBufferedBytes = 64 * 1024 * 1024

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED'

/** One open watch. Everything it sends goes through `#send`, so that a fault can silence it. */
export class WatchStream {
  readonly target: RequestTarget
  readonly #request: WatchRequest
  readonly #store: ObjectStore
  readonly #cache: WatchCache
  readonly #options: WatchOptions
  readonly #release: (() => void)[] = []
  readonly #bookmarks: boolean
  readonly #start: number | undefined
  readonly #initial: boolean
  #cancelBookmark: () => void = () => undefined
  #silent = false
  #sentColumns = false
  #ended = false

  /** Checks the request: what cannot be watched is refused before anything is sent. */
  constructor(request: WatchRequest, store: ObjectStore, cache: WatchCache, options: WatchOptions) {
    this.target = request.target
    this.#request = request
    this.#store = store
    this.#cache = cache
    this.#options = options
    const text = request.query.get('resourceVersion') ?? ''
    const version = text === '' ? 0 : parseVersion(text)
    this.#start = version === 0 ? undefined : version
    this.#bookmarks = isTrue(request.query.get('allowWatchBookmarks'))
    this.#initial = checkInitialEvents(request.query, options.watchList) ?? this.#start === undefined
    // A plain watch waits silently for a version that is yet to come; one that wants the state first is told.
    if (this.#initial && version > store.version) throw tooLargeResourceVersion(version, store.version)
  }

  /** Sends what is there, then what comes. Takes a callback because a watch ends whenever its reader leaves. */
  open(onEnd: () => void): void {
    const { response, representation, query } = this.#request
    response.writeHead(200, { 'content-type': representation.contentType, 'cache-control': 'no-cache, private' })
    response.flushHeaders()
    this.#release.push(onEnd)
    response.on('close', () => this.#end())
    const missed = this.#initial ? [] : this.#missedEvents()
    if (missed === undefined) return
    if (this.#initial) this.#sendInitial()
    for (const event of missed) this.#deliver(event)
    const resource = resourceId(this.#request.selection.kind)
    this.#release.push(this.#cache.subscribe(resource, (event) => this.#deliver(event)))
    if (this.#bookmarks) this.#scheduleBookmark()
    const seconds = Number(query.get('timeoutSeconds') ?? 0)
    const timeout = seconds > 0 ? seconds * 1000 : 1_800_000 * (1 + this.#options.random())
    this.#release.push(this.#options.clock.schedule(() => this.#timeOut(), timeout))
  }

  /** From now on nothing is sent, and the connection stays: a network that swallows packets. */
  silence(): void {
    this.#silent = true
  }

  /** An ERROR event inside the stream, then its end. */
  fail(status: JsonObject): void {
    this.#send(`{"type":"ERROR","object":${JSON.stringify(status)}}\n`)
    this.#request.response.end()
  }

  /** Bytes as they are: for faults that send what is no JSON. */
  sendRaw(text: string): void {
    this.#send(text)
  }

  /** A clean end, as at a timeout. */
  end(): void {
    this.#timeOut()
  }

  destroy(): void {
    this.#request.response.destroy()
    this.#end()
  }

  #missedEvents(): readonly StoreEvent[] | undefined {
    const resource = resourceId(this.#request.selection.kind)
    const start = this.#start ?? this.#store.version
    const events = this.#cache.since(resource, start)
    if (events === undefined) {
      const message = `too old resource version: ${start} (${this.#cache.oldest(resource)})`
      this.fail(expired(message).toStatus())
    }
    return events
  }

  #sendInitial(): void {
    const { kind, filter } = this.#request.selection
    const objects = this.#store.objects(resourceId(kind))
    for (const key of this.#store.keys(resourceId(kind))) {
      const object = objects.get(key)
      if (object !== undefined && filter?.(object) !== false) this.#send(this.#line('ADDED', inVersion(object, kind)))
    }
    const asked = isTrue(this.#request.query.get('sendInitialEvents'))
    if (asked && this.#bookmarks) this.#sendBookmark({ 'k8s.io/initial-events-end': 'true' })
  }

  #deliver(event: StoreEvent): void {
    // A watch at a version that is yet to come stays silent until it has come.
    if (this.#ended || this.#silent || (this.#start !== undefined && event.version <= this.#start)) return
    const { filter, kind } = this.#request.selection
    if (filter === undefined && this.#request.representation.form === 'object') {
      this.#send(sharedLine(event, event.type, () => inVersion(event.object, kind), apiVersionOf(kind)))
      return
    }
    const was = event.previous !== undefined && filter?.(event.previous) !== false
    const is = event.type !== 'DELETED' && filter?.(event.object) !== false
    if (!was && !is) return
    const type: EventType = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED'
    const shown = (): KubernetesObject => inVersion(is ? event.object : lastState(event), kind)
    if (this.#request.representation.form === 'object') {
      this.#send(sharedLine(event, type, shown, apiVersionOf(kind)))
    } else this.#send(this.#line(type, shown()))
  }

  #line(type: EventType, object: KubernetesObject): string {
    const { selection, representation } = this.#request
    const now = this.#options.clock.now()
    if (representation.form !== 'table') {
      return `{"type":"${type}","object":${objectText(selection.kind, object, representation, now)}}\n`
    }
    const table = makeTable(selection.kind, [object], {
      metadata: { resourceVersion: textOf(object.metadata['resourceVersion']) },
      includeObject: representation.includeObject,
      withColumns: !this.#sentColumns,
      now,
    })
    this.#sentColumns = true
    return `{"type":"${type}","object":${JSON.stringify(table)}}\n`
  }

  #scheduleBookmark(): void {
    this.#cancelBookmark = this.#options.clock.schedule(() => {
      if (this.#ended) return
      if (this.#start === undefined || this.#store.version >= this.#start) this.#sendBookmark({})
      this.#scheduleBookmark()
    }, this.#options.bookmarkMs)
  }

  #sendBookmark(annotations: JsonObject): void {
    const { kind } = this.#request.selection
    const metadata: JsonObject = { resourceVersion: String(this.#store.version), creationTimestamp: null }
    if (Object.keys(annotations).length > 0) metadata['annotations'] = annotations
    const bookmark: JsonObject = { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata }
    if (this.#request.representation.form === 'object') {
      this.#send(`{"type":"BOOKMARK","object":${JSON.stringify(bookmark)}}\n`)
      return
    }
    const object =
      this.#request.representation.form === 'metadata'
        ? { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
        : { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata, columnDefinitions: [], rows: [] }
    this.#send(`{"type":"BOOKMARK","object":${JSON.stringify(object)}}\n`)
  }

  #timeOut(): void {
    if (this.#bookmarks && !this.#ended) this.#sendBookmark({})
    if (!this.#silent) this.#request.response.end()
  }

  #send(line: string | Buffer): void {
    const { response } = this.#request
    if (this.#silent || this.#ended || response.writableEnded) return
    response.write(line)
    if (response.writableLength > mostBufferedBytes) this.destroy()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#cancelBookmark()
    for (const release of this.#release) release()
    this.#release.length = 0
  }
}

/** The lines of the event that is going out: all watches get it before the next one comes. */
const current: { event: StoreEvent | undefined; readonly lines: Map<string, Buffer> } = {
  event: undefined,
  lines: new Map(),
}

/** Every watch of one event sends the same bytes, made once, and kept no longer than it takes to send them. */
function sharedLine(event: StoreEvent, type: EventType, object: () => KubernetesObject, version: string): Buffer {
  if (current.event !== event) {
    current.event = event
    current.lines.clear()
  }
  const id = `${type} ${version}`
  let line = current.lines.get(id)
  if (line === undefined) {
    line = Buffer.from(`{"type":"${type}","object":${jsonOf(object())}}\n`)
    current.lines.set(id, line)
  }
  return line
}

/** What left the selection is shown as it was, under the version of its leaving. */
function lastState(event: StoreEvent): KubernetesObject {
  if (event.type === 'DELETED' || event.previous === undefined) return event.object
  const metadata = { ...event.previous.metadata, resourceVersion: String(event.version) }
  return { ...event.previous, metadata }
}

function checkInitialEvents(query: URLSearchParams, offered: boolean): boolean | undefined {
  const text = query.get('sendInitialEvents')
  const match = query.get('resourceVersionMatch') ?? ''
  const refuse = (field: string, detail: string): never => {
    throw invalidObject({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', [forbiddenField(field, detail)])
  }
  if (text === null) {
    if (match !== '')
      refuse('resourceVersionMatch', 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided')
    return undefined
  }
  if (!offered) {
    refuse('sendInitialEvents', 'sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled')
  }
  if (match !== 'NotOlderThan') {
    refuse('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan')
  }
  return isTrue(text)
}
