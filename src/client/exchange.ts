import type { z } from 'zod'
import { problemSchema } from '../contract/problem.ts'
import { meSchema, type Me } from '../contract/session.ts'
import { SluiceProblem, UnreachableError } from './sluice-problem.ts'

export interface ExchangeOptions {
  readonly baseUrl: string
  readonly token?: string | undefined
  readonly tenant?: string | undefined
  /** Why, in a line: stands in the audit beside everything that this client changes. */
  readonly reason?: string | undefined
  readonly fetch?: typeof globalThis.fetch | undefined
  /** Milliseconds until a request without an answer is given up. @default 30_000 */
  readonly timeoutMs?: number | undefined
}

export interface ExchangeRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below /api/v1, with the leading slash. */
  readonly path: string
  readonly query?: Readonly<Record<string, QueryValue>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  /** Added to the time limit, for requests that ask the server to wait. */
  readonly extraMs?: number
}
export type QueryValue = string | number | readonly string[] | undefined

/** One HTTP request and one parsed answer; every way to go wrong is a SluiceProblem or an UnreachableError. */
export interface Exchange {
  /** Sends and parses the JSON answer. Throws SluiceProblem, UnreachableError, or the signal's reason. */
  request<Schema extends z.ZodType>(schema: Schema, request: ExchangeRequest): Promise<z.output<Schema>>
  /** Sends and resolves with the answer's head; the caller reads the body. The time limit ends with the head. */
  open(request: ExchangeRequest): Promise<Response>
  /** The address of a path, and the headers that a request to it carries. */
  address(path: string, query?: Readonly<Record<string, QueryValue>>): string
  readonly headers: Readonly<Record<string, string>>
  /** Who the caller is. In a browser's session the answer holds what every change has to show. */
  me(signal: AbortSignal | undefined): Promise<Me>
}

export function createExchange(options: ExchangeOptions): Exchange {
  const base = options.baseUrl.replace(/\/+$/, '').replace(/\/api\/v1$/, '')
  // Looked up at each call and called without a receiver: a browser's fetch refuses any other `this` than the window.
  const send: typeof fetch = (input, init) => (options.fetch ?? globalThis.fetch)(input, init)
  const headers: Record<string, string> = {}
  if (options.token !== undefined) headers['authorization'] = `Bearer ${options.token}`
  if (options.tenant !== undefined) headers['sluice-tenant'] = options.tenant
  // Headers are ASCII.
  if (options.reason !== undefined) headers['sluice-reason'] = encodeURIComponent(options.reason)

  const address = (path: string, query: Readonly<Record<string, QueryValue>> = {}) =>
    `${base}/api/v1${path}${queryString(query)}`

  let csrfToken: string | null = null
  const me = async (signal: AbortSignal | undefined): Promise<Me> => {
    const answer = await request(meSchema, { path: '/me', signal })
    csrfToken = answer.csrf_token
    return answer
  }

  const open = async (wanted: ExchangeRequest): Promise<Response> => {
    try {
      return await openOnce(wanted)
    } catch (error) {
      // Nothing was done: the session has changed, in another window maybe, since its token was read.
      if (!(error instanceof SluiceProblem) || error.code !== 'csrf_refused') throw error
      await me(wanted.signal)
      return openOnce(wanted)
    }
  }

  const openOnce = async (request: ExchangeRequest): Promise<Response> => {
    const url = address(request.path, request.query)
    const limitMs = (options.timeoutMs ?? 30_000) + (request.extraMs ?? 0)
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(), limitMs)
    const body = request.body === undefined ? {} : { body: JSON.stringify(request.body) }
    const type: Record<string, string> = request.body === undefined ? {} : { 'content-type': 'application/json' }
    const changes = request.method !== undefined && request.method !== 'GET'
    const own: Record<string, string> = changes && csrfToken !== null ? { 'sluice-csrf': csrfToken } : {}
    try {
      const response = await send(url, {
        method: request.method ?? 'GET',
        headers: { accept: 'application/json', ...headers, ...type, ...own, ...request.headers },
        signal: request.signal === undefined ? limit.signal : AbortSignal.any([request.signal, limit.signal]),
        ...body,
      })
      if (!response.ok) throw await readRefusal(response, url)
      return response
    } catch (error) {
      if (error instanceof SluiceProblem || error instanceof UnreachableError) throw error
      request.signal?.throwIfAborted()
      throw new UnreachableError(url, limit.signal.aborted ? `no answer within ${limitMs / 1000} s` : reasonOf(error), {
        cause: error,
      })
    } finally {
      clearTimeout(timer)
    }
  }

  const request: Exchange['request'] = async (schema, wanted) => {
    const response = await open(wanted)
    const url = address(wanted.path, wanted.query)
    const text = await readText(response, url, wanted.signal)
    const parsed = schema.safeParse(response.status === 204 ? undefined : parseJson(text))
    if (parsed.success) return parsed.data
    const reason = `its answer is not what this version of the client knows (${parsed.error.issues[0]?.message ?? ''})`
    throw new UnreachableError(url, reason, { cause: parsed.error })
  }

  return { open, address, headers, request, me }
}

async function readText(response: Response, url: string, signal: AbortSignal | undefined): Promise<string> {
  try {
    return await response.text()
  } catch (error) {
    signal?.throwIfAborted()
    throw new UnreachableError(url, `the answer broke off (${reasonOf(error)})`, { cause: error })
  }
}

async function readRefusal(response: Response, url: string): Promise<SluiceProblem | UnreachableError> {
  const retryAfterMs = readRetryAfter(response.headers.get('retry-after'))
  const parsed = problemSchema.safeParse(parseJson(await readText(response, url, undefined)))
  if (parsed.success) return new SluiceProblem(parsed.data, retryAfterMs)
  // A proxy in between, or another program on this port: the status alone is no decision of Sluice.
  return new UnreachableError(url, `it answered ${response.status} without a problem document`, { retryAfterMs })
}

function readRetryAfter(value: string | null): number | null {
  if (value === null) return null
  const seconds = Number(value)
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function reasonOf(error: unknown): string {
  // Node's fetch hides what happened ("fetch failed") in the cause.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return String(cause)
  return 'code' in cause && typeof cause.code === 'string' ? `${cause.code} ${cause.message}`.trim() : cause.message
}

function queryString(query: Readonly<Record<string, QueryValue>>): string {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined) continue
    for (const one of typeof value === 'object' ? value : [String(value)]) params.append(name, one)
  }
  return params.size === 0 ? '' : `?${params}`
}
