import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { KubeConfig } from '@kubernetes/client-node'

/** JSON without a shape: the cases say what they expect of it. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

export interface ApiAnswer {
  readonly status: number
  readonly contentType: string
  readonly warnings: string
  /** Empty when the body is no JSON object. */
  readonly body: JsonObject
  readonly text: string
}

export interface ApiCall {
  readonly query?: Readonly<Record<string, string>>
  readonly body?: Json
  readonly contentType?: string
  readonly accept?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Without the user's credentials: a server that knows a client certificate does not look at the token. @default false */
  readonly anonymous?: boolean
}

export interface WatchEvent {
  readonly type: string
  readonly object: JsonObject
}

/** The API with nothing but a kubeconfig: no client library stands between a case and the answer. */
export class ApiClient {
  readonly #config: KubeConfig
  readonly #server: URL
  readonly #watches = new Set<Watch>()

  constructor(kubeconfig: string, context?: string) {
    this.#config = new KubeConfig()
    this.#config.loadFromString(kubeconfig)
    if (context !== undefined) this.#config.setCurrentContext(context)
    const cluster = this.#config.getCurrentCluster()
    if (cluster === null) throw new Error('The kubeconfig has no current cluster.')
    this.#server = new URL(cluster.server)
  }

  async call(method: string, path: string, options: ApiCall = {}): Promise<ApiAnswer> {
    const response = await this.#send(method, path, options)
    const chunks: Buffer[] = []
    // A response without an encoding yields buffers.
    for await (const chunk of response) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString('utf8')
    const warnings = response.headers['warning']
    return {
      status: response.statusCode ?? 0,
      contentType: response.headers['content-type'] ?? '',
      warnings: Array.isArray(warnings) ? warnings.join(', ') : (warnings ?? ''),
      body: parseObject(text),
      text,
    }
  }

  async watch(path: string, query: Readonly<Record<string, string>> = {}, accept?: string): Promise<Watch> {
    const options = { query: { watch: 'true', ...query }, ...(accept === undefined ? {} : { accept }) }
    const watch = new Watch(await this.#send('GET', path, options))
    this.#watches.add(watch)
    return watch
  }

  /** Those that a failed case has left, which would keep the process alive. */
  closeWatches(): void {
    for (const watch of this.#watches) watch.close()
    this.#watches.clear()
  }

  async #send(method: string, path: string, { query, body, contentType, accept, headers, anonymous = false }: ApiCall) {
    const search = query === undefined ? '' : `?${new URLSearchParams(query).toString()}`
    const url = new URL(`${this.#server.pathname.replace(/\/$/, '')}${path}${search}`, this.#server)
    const options: RequestOptions = { method, headers: { accept: accept ?? 'application/json' } }
    await this.#config.applyToHTTPSOptions(options)
    if (anonymous) for (const part of ['cert', 'key', 'auth', 'agent'] as const) delete options[part]
    const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
    const sentHeaders = new Headers()
    for (const [name, value] of Object.entries(options.headers ?? {})) sentHeaders.set(name, String(value))
    if (payload !== undefined) {
      sentHeaders.set('content-type', contentType ?? 'application/json')
      // A DELETE has a body only where its length is announced.
      sentHeaders.set('content-length', String(Buffer.byteLength(payload)))
    }
    for (const [name, value] of Object.entries(headers ?? {})) sentHeaders.set(name, value)
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = send(url, { ...options, headers: Object.fromEntries(sentHeaders) }, resolve)
      sent.once('error', reject)
      sent.end(payload)
    })
  }
}

/** An open watch; what has come is kept, so that a case may look at it whenever it likes. */
export class Watch {
  readonly status: number
  readonly events: WatchEvent[] = []
  readonly #response: IncomingMessage
  readonly #waiting = new Set<() => void>()
  #rest = ''
  #text = ''
  #closed = false

  constructor(response: IncomingMessage) {
    this.#response = response
    this.status = response.statusCode ?? 0
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => this.#take(chunk))
    const close = (): void => {
      this.#closed = true
      this.#wake()
    }
    response.on('close', close)
    response.on('error', close)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Whatever has come, also what is no event. */
  get text(): string {
    return this.#text
  }

  /** The first event that fits, also of those that came before. Throws when the watch closes or time is up. */
  async find(fits: (event: WatchEvent) => boolean, withinMs = 10_000): Promise<WatchEvent> {
    await this.#until(() => this.#closed || this.events.some(fits), withinMs)
    const found = this.events.find(fits)
    if (found !== undefined) return found
    const seen = this.events.map(({ type, object }) => `${type} ${nameOf(object)}`).join(', ')
    throw new Error(
      `The watch ${this.#closed ? 'closed' : 'stayed open'} without the event; seen: ${seen || 'nothing'}`,
    )
  }

  async untilClosed(withinMs = 10_000): Promise<void> {
    await this.#until(() => this.#closed, withinMs)
    if (!this.#closed) throw new Error(`The watch is still open after ${withinMs} ms.`)
  }

  close(): void {
    this.#response.destroy()
  }

  #take(chunk: string): void {
    this.#text += chunk
    const lines = (this.#rest + chunk).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const { type, object } = parseObject(line)
      // Only objects with a type are events; other answers are read from `text`.
      if (typeof type === 'string') this.events.push({ type, object: (object ?? {}) as JsonObject })
    }
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  #until(done: () => boolean, withinMs: number): Promise<void> {
    if (done()) return Promise.resolve()
    return new Promise((resolve) => {
      const check = (): void => {
        if (!done()) return
        finish()
      }
      const finish = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(check)
        resolve()
      }
      const timer = setTimeout(finish, withinMs)
      this.#waiting.add(check)
    })
  }
}

export function nameOf(object: JsonObject): string {
  const name = at(object, 'metadata', 'name')
  return typeof name === 'string' ? name : ''
}

/** What stands at a path; a number steps into a list. */
export function at(value: Json | undefined, ...path: readonly (string | number)[]): Json | undefined {
  let current: Json | undefined = value
  for (const step of path) {
    if (Array.isArray(current)) current = typeof step === 'number' ? current[step] : undefined
    else if (typeof current === 'object' && current !== null) current = current[String(step)]
    else return undefined
  }
  return current
}

function parseObject(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text)
    // JSON.parse yields JSON.
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  } catch {
    // A body that is no JSON is read from the text.
  }
  return {}
}
