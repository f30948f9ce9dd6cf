import { type Dispatcher, Pool, ProxyAgent } from 'undici'
import type { Clock } from './clock.ts'
import { ClusterConfigurationError, ClusterError, UnreachableError } from './cluster-errors.ts'
import type { Authentication, Credentials } from './credentials.ts'
import { isRefusedHost, type RefusedAddresses, refusingLookup } from './local-address.ts'
import { raceSignal } from './race-signal.ts'
import type { Tracer } from '../platform/tracer.ts'
import { statusToError } from './status-to-error.ts'

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below the server's address, beginning with `/`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  /** @default 'application/json' */
  readonly contentType?: string
  readonly accept?: string
  readonly signal?: AbortSignal | undefined
  /** Milliseconds until the whole answer must be there (of a stream: its headers). @default 30_000 */
  readonly timeoutMs?: number | undefined
}

export interface ApiResponse {
  readonly status: number
  readonly body: unknown
  /** Texts of the `Warning` headers: what admission wants the user to know. */
  readonly warnings: readonly string[]
}

export interface Transport {
  /** One request, its answer read whole. Throws a `ClusterError` for every status but 2xx. */
  request(request: ApiRequest): Promise<ApiResponse>
  /** A request whose answer goes on; ends when the server, the connection or the signal ends it. */
  stream(request: ApiRequest): Promise<AsyncIterable<Buffer>>
  /** Ends everything in flight. Safe to call twice. */
  stop(): Promise<void>
}

export interface TransportOptions {
  /** Names the cluster in messages. */
  readonly name: string
  readonly credentials: Credentials
  readonly clock: Clock
  /** Addresses that are not connected to. @default none */
  readonly refuse?: RefusedAddresses | undefined
  /** Calls that are part of a trace get a span, and carry it on. @default no trace */
  readonly tracer?: Tracer | undefined
}

const defaultTimeoutMs = 30_000
const maxAnswerBytes = 256 * 1024 * 1024
// Of a server that we do not know: a page of 500 objects fits many times.
const maxStrangeAnswerBytes = 64 * 1024 * 1024
const maxRefusalBytes = 1024 * 1024

// The kernel probes a quiet connection after 4 s, then every second, and gives it up after 10 unanswered probes (libuv's
// fixed interval and count): a dead peer is noticed within 15 s (measured: 14.3 s). A peer that is alive but silent is
// the reflector's care.
const keepAlive = { keepAlive: true, keepAliveInitialDelay: 4_000, timeout: 10_000 }

/**
 * HTTP/1.1 on undici. Each watch has a connection of its own (85 KB); HTTP/2 would need 22 KB, but puts a hundred
 * watches behind one connection's fate and its limit of 100 streams, where the 101st waits silently. The hub shares
 * watches, so that there are tens of them, not thousands: the simpler protocol wins.
 */
export function createTransport(options: TransportOptions): Transport {
  const connections = new Connections(options)
  return {
    request: (request) => requestTraced(connections, options, request),
    stream: (request) => openStream(connections, options, request),
    stop: () => connections.stop(),
  }
}

// Outside a trace (a watch that lists again) there is nobody to tell.
function requestTraced(connections: Connections, options: TransportOptions, request: ApiRequest): Promise<ApiResponse> {
  const { tracer, name } = options
  if (tracer?.currentTraceparent() === undefined) return requestWhole(connections, options, request)
  return tracer.withSpan(
    `kubernetes ${request.method}`,
    async (span) => {
      const answer = await requestWhole(connections, options, { ...request, traceparent: span.traceparent })
      span.setAttributes({ 'http.response.status_code': answer.status })
      return answer
    },
    {
      kind: 'client',
      attributes: { 'k8s.cluster.name': name, 'http.request.method': request.method, 'url.path': request.path },
    },
  )
}

type TracedRequest = ApiRequest & { readonly traceparent?: string }

async function requestWhole(
  connections: Connections,
  options: TransportOptions,
  request: TracedRequest,
): Promise<ApiResponse> {
  const deadline = startDeadline(options.clock, request.signal, request.timeoutMs ?? defaultTimeoutMs)
  try {
    const answer = await send(connections, 'requests', { ...request, signal: deadline.signal })
    const text = await answer.body.text()
    return toResponse(options, answer, text)
  } catch (error) {
    throw toClusterError(options.name, error, request, deadline)
  } finally {
    deadline.release()
  }
}

async function openStream(
  connections: Connections,
  options: TransportOptions,
  request: ApiRequest,
): Promise<AsyncIterable<Buffer>> {
  const deadline = startDeadline(options.clock, request.signal, request.timeoutMs ?? defaultTimeoutMs)
  try {
    const answer = await send(connections, 'streams', { ...request, signal: deadline.signal })
    if (answer.statusCode < 200 || answer.statusCode > 299) toResponse(options, answer, await readRefusal(answer))
    deadline.stopTimer()
    return readChunks(answer, options.name, request, deadline)
  } catch (error) {
    deadline.release()
    throw toClusterError(options.name, error, request, deadline)
  }
}

/** Why a stream was refused. It may be long, and its end may never come. */
async function readRefusal(answer: Dispatcher.ResponseData): Promise<string> {
  const parts: Buffer[] = []
  let held = 0
  for await (const chunk of answer.body) {
    // The body is a byte stream: its chunks are Buffers.
    parts.push(chunk as Buffer)
    held += (chunk as Buffer).length
    if (held > maxRefusalBytes) break
  }
  return Buffer.concat(parts).toString('utf8')
}

async function* readChunks(
  answer: Dispatcher.ResponseData,
  name: string,
  request: ApiRequest,
  deadline: Deadline,
): AsyncGenerator<Buffer> {
  try {
    // The body is a byte stream: its chunks are Buffers.
    for await (const chunk of answer.body) yield chunk as Buffer
  } catch (error) {
    throw toClusterError(name, error, request, deadline)
  } finally {
    deadline.release()
    answer.body.on('error', () => {}).destroy()
  }
}

function toResponse(options: TransportOptions, answer: Dispatcher.ResponseData, text: string): ApiResponse {
  const { statusCode: status, headers } = answer
  const body = parseBody(text)
  if (status < 200 || status > 299) {
    const retryAfter = headers['retry-after']
    throw statusToError(status, body, {
      retryAfter: Array.isArray(retryAfter) ? retryAfter[0] : retryAfter,
      now: options.clock.now(),
    })
  }
  return { status, body, warnings: parseWarnings(headers['warning']) }
}

// What is no JSON (a proxy's error page) stays text: it belongs into the message.
function parseBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Texts of `Warning: 299 - "text"` headers (RFC 7234, 5.5), as admission and deprecation checks send them. */
export function parseWarnings(header: string | string[] | undefined): string[] {
  const lines = header === undefined ? [] : Array.isArray(header) ? header : [header]
  return lines.flatMap((line) =>
    [...line.matchAll(/\b299 \S+ "((?:[^"\\]|\\.)*)"/g)].map((match) => (match[1] ?? '').replace(/\\(.)/g, '$1')),
  )
}

async function send(
  connections: Connections,
  pool: 'requests' | 'streams',
  request: TracedRequest & { readonly signal: AbortSignal },
): Promise<Dispatcher.ResponseData> {
  const attempt = async (renew: boolean): Promise<Dispatcher.ResponseData> => {
    // A credential plug-in may take for ever.
    const authentication = await raceSignal(connections.authenticate(renew), request.signal)
    return connections.dispatcher(authentication, pool).request(toRequestOptions(authentication, request))
  }
  let answer: Dispatcher.ResponseData
  try {
    answer = await attempt(false)
  } catch (error) {
    // The server closed an idle connection at the moment we used it. Reading again is safe, writing is the caller's choice.
    if (request.method !== 'GET' || !isStaleConnection(error) || request.signal.aborted) throw error
    answer = await attempt(false)
  }
  if (answer.statusCode !== 401) return answer
  // Not executed, so any method may be sent again. Once: a second 401 is the answer.
  await answer.body.dump()
  return attempt(true)
}

function isStaleConnection(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code // whatever was thrown: read with care
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE'
}

function toRequestOptions(
  authentication: Authentication,
  request: TracedRequest & { readonly signal: AbortSignal },
): Dispatcher.RequestOptions & { origin: string } {
  const server = new URL(authentication.server)
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) query.set(name, String(value))
  }
  const search = query.size > 0 ? `?${query}` : ''
  return {
    origin: server.origin,
    path: `${server.pathname.replace(/\/+$/, '')}${request.path}${search}`,
    method: request.method,
    headers: {
      ...authentication.headers,
      accept: request.accept ?? 'application/json',
      'user-agent': 'sluice',
      ...(request.traceparent !== undefined && { traceparent: request.traceparent }),
      ...(request.body !== undefined && { 'content-type': request.contentType ?? 'application/json' }),
    },
    body: request.body === undefined ? null : JSON.stringify(request.body),
    signal: request.signal,
    // Time is kept by our own clock: quiet watches live for minutes.
    headersTimeout: 0,
    bodyTimeout: 0,
  }
}

/** One pool for requests and one for watches, renewed when the TLS material changes. */
class Connections {
  readonly #options: TransportOptions
  #key = ''
  #pools: { requests: Dispatcher; streams: Dispatcher } | undefined
  /** Pools of former credentials, whose watches run on. */
  readonly #retired = new Set<Dispatcher>()
  #stopped = false

  constructor(options: TransportOptions) {
    this.#options = options
  }

  authenticate(renew: boolean): Promise<Authentication> {
    return this.#options.credentials.current({ renew })
  }

  dispatcher(authentication: Authentication, pool: 'requests' | 'streams'): Dispatcher {
    if (this.#stopped) throw new UnreachableError(`The connection to cluster ${this.#options.name} was closed.`)
    const { server, tls, proxyUrl } = authentication
    const key = JSON.stringify([server, tls, proxyUrl])
    if (!this.#pools || key !== this.#key) {
      this.#retire()
      this.#key = key
      this.#pools = {
        requests: createPool(authentication, this.#options, 32),
        streams: createPool(authentication, this.#options, null),
      }
    }
    return this.#pools[pool]
  }

  #retire(): void {
    for (const pool of Object.values(this.#pools ?? {})) {
      this.#retired.add(pool)
      pool.close().then(
        () => this.#retired.delete(pool),
        () => this.#retired.delete(pool),
      )
    }
    this.#pools = undefined
  }

  async stop(): Promise<void> {
    this.#stopped = true
    const pools = [...Object.values(this.#pools ?? {}), ...this.#retired]
    this.#pools = undefined
    this.#retired.clear()
    await Promise.all(pools.map((pool) => pool.destroy().catch(() => undefined)))
  }
}

function createPool(authentication: Authentication, options: TransportOptions, connections: number | null): Dispatcher {
  const { server, tls, proxyUrl } = authentication
  const shared = {
    connections,
    allowH2: false,
    pipelining: 1,
    maxResponseSize: connections === null ? -1 : options.refuse ? maxStrangeAnswerBytes : maxAnswerBytes,
  }
  if (proxyUrl !== undefined) {
    if (!/^https?:\/\//.test(proxyUrl))
      throw new ClusterConfigurationError(`proxy-url ${proxyUrl} is not supported: only http and https are.`)
    return new ProxyAgent({ ...shared, uri: proxyUrl, requestTls: { ...tls, ...keepAlive, allowH2: false } })
  }
  // Names are checked when they are looked up; addresses are not looked up.
  const { refuse } = options
  if (refuse && isRefusedHost(new URL(server).hostname, refuse)) {
    throw new ClusterConfigurationError(`${server} is an address of this machine or link-local: refused.`)
  }
  const lookup = refuse ? { lookup: refusingLookup(refuse) } : {}
  return new Pool(new URL(server).origin, { ...shared, connect: { ...tls, ...keepAlive, ...lookup } })
}

interface Deadline {
  readonly signal: AbortSignal
  readonly timedOut: () => boolean
  stopTimer(): void
  release(): void
}

function startDeadline(clock: Clock, outer: AbortSignal | undefined, ms: number): Deadline {
  const controller = new AbortController()
  let timedOut = false
  const abort = (): void => controller.abort(outer?.reason)
  if (outer?.aborted) abort()
  else outer?.addEventListener('abort', abort, { once: true })
  const stopTimer = clock.after(ms, () => {
    timedOut = true
    controller.abort(new Error(`no answer within ${ms} ms`))
  })
  return {
    signal: controller.signal,
    timedOut: () => timedOut,
    stopTimer,
    release() {
      stopTimer()
      outer?.removeEventListener('abort', abort)
    },
  }
}

function toClusterError(name: string, error: unknown, request: ApiRequest, deadline: Deadline): unknown {
  if (error instanceof ClusterError) return error
  if (request.signal?.aborted && !deadline.timedOut()) return request.signal.reason
  return new UnreachableError(`Cluster ${name} cannot be reached: ${reasonOf(error)}.`, { cause: error })
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Node reports several tried addresses in one AggregateError without a message.
  const inner: unknown = error instanceof AggregateError ? (error.errors[0] ?? error) : error
  const { code, message } = inner as Error & { code?: unknown } // errors of net, tls and undici carry a code
  return message || String(code)
}
