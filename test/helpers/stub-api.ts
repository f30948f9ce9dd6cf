import { createReadStream, existsSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { extname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { WebSocketServer, type WebSocket } from 'ws'
import { isTerminalEvent, type TaskEvent } from '../../src/contract/event.ts'
import { liveRequestSchema, type LiveMessage } from '../../src/contract/live.ts'
import { taskListQuerySchema } from '../../src/contract/task-list.ts'
import { createStubStore, stubProblem, type StubStore } from './stub-store.ts'

/** What a handler may do to the next requests: answer in place of the stub (true), or leave it to it (false). */
export type StubFault = (request: IncomingMessage, response: ServerResponse) => boolean

export interface StubApi {
  readonly url: string
  readonly store: StubStore
  /** Every request that came in, as `GET /api/v1/tasks?…`, with its headers and (once read) its body. */
  readonly requests: { line: string; headers: IncomingMessage['headers']; body: unknown }[]
  /** Asked first for each request, in order; spliced out by the test. */
  readonly faults: StubFault[]
  /** Bearer tokens that are let in, each with its principal; a cookie `sluice=<token>` does as well. */
  readonly tokens: Map<string, string>
  /** One-time codes, each with the token that its session gets. */
  readonly codes: Map<string, string>
  /** Each opens one live connection. */
  readonly passes: Set<string>
  readonly sockets: Set<WebSocket>
  /** Breaks every open connection without a word. */
  cut(): void
  /** Stops listening and breaks every connection; `start` comes back on the same port. */
  stop(): Promise<void>
  start(): Promise<void>
}

export interface StubApiOptions {
  /** A built console to serve at `/`, under the strict policy that the real server sends. */
  readonly webRoot?: string
}

const strictPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; " +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

/** The HTTP contract over a store in memory, with faults on demand. Serves on a free port of the loopback. */
export async function startStubApi(options: StubApiOptions = {}): Promise<StubApi> {
  const store = createStubStore()
  const connections = new Set<Socket>()
  const webSockets = new WebSocketServer({ noServer: true })
  let server: Server | undefined
  let port = 0
  const api: Omit<StubApi, 'url'> = {
    store,
    requests: [],
    faults: [],
    tokens: new Map([['secret', 'requester']]),
    codes: new Map(),
    passes: new Set(),
    sockets: webSockets.clients,
    cut: () => {
      for (const socket of connections) socket.destroy()
    },
    stop: async () => {
      const closing = server
      server = undefined
      api.cut()
      await new Promise((resolve) => (closing === undefined ? resolve(null) : closing.close(resolve)))
    },
    start: async () => {
      const listening = createServer((request, response) => void answer(api, options, request, response))
      listening.on('connection', (socket) => {
        connections.add(socket)
        socket.on('close', () => connections.delete(socket))
      })
      listening.on('upgrade', (request, socket, head) => {
        const pass = new URL(request.url ?? '/', 'http://stub').searchParams.get('pass')
        const passes = pass !== null && api.passes.delete(pass)
        if (!passes && principalOf(api, request) === null) socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
        else webSockets.handleUpgrade(request, socket, head, (webSocket) => serveLive(store, webSocket))
      })
      await new Promise<void>((resolve) => listening.listen(port, '127.0.0.1', resolve))
      // A TCP server's address is never a pipe's string.
      port = (listening.address() as AddressInfo).port
      server = listening
    },
  }
  await api.start()
  return Object.assign(api, { url: `http://127.0.0.1:${port}` })
}

type Api = Omit<StubApi, 'url'>

async function answer(
  api: Api,
  options: StubApiOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://stub')
  const method = request.method ?? 'GET'
  const body = parseJson(await text(request).catch(() => ''))
  api.requests.push({ line: `${method} ${request.url}`, headers: request.headers, body })
  for (const fault of api.faults) if (fault(request, response)) return
  if (!url.pathname.startsWith('/api/v1/')) return serveFile(options.webRoot, url.pathname, response)
  const route = `${method} ${url.pathname.slice('/api/v1'.length)}`
  if (route === 'POST /session') return signIn(api, body, response)
  if (route === 'GET /session/options') return json(response, 200, { login_url: null })
  const principal = principalOf(api, request)
  if (principal === null) return problem(response, 401, 'Sign in first.')
  const csrfToken = csrfTokenOf(request)
  if (method !== 'GET' && csrfToken !== null && request.headers['sluice-csrf'] !== csrfToken) {
    return problem(response, 403, 'Is it you who changes this?', { code: 'csrf_refused' })
  }
  if (route === 'DELETE /session') {
    response.setHeader('set-cookie', 'sluice=; Path=/; Max-Age=0')
    return json(response, 200, { logout_url: null })
  }
  if (route === 'GET /me') {
    const me = { principal, tenant: 'default', tenants: ['default'], roles: [principal], csrf_token: csrfToken }
    return json(response, 200, me)
  }
  if (route === 'POST /session/codes') {
    const code = `code-${api.codes.size + 1}`
    const link = `http://${request.headers.host}/?code=${code}`
    return json(response, 200, { code, url: link, expires_at: new Date(Date.now() + 60_000).toISOString() })
  }
  if (route === 'POST /live/passes') {
    const pass = `pass-${crypto.randomUUID()}`
    api.passes.add(pass)
    return json(response, 200, { pass, expires_at: new Date(Date.now() + 60_000).toISOString() })
  }
  if (route === 'GET /operations')
    return json(response, 200, { items: [projectCreate, diskResize], next_page_token: null })
  if (route === 'POST /tasks') return accept(api, body, principal, response)
  if (route === 'GET /tasks') return list(api.store, url, response)
  return serveTask(api, url, { request, response, method })
}

function serveTask(
  api: Api,
  url: URL,
  { request, response, method }: { request: IncomingMessage; response: ServerResponse; method: string },
): void {
  const [, taskId = '', rest = ''] = /^\/api\/v1\/tasks\/([^/]+)(.*)$/.exec(url.pathname) ?? []
  const task = api.store.tasks.get(taskId)
  if (task === undefined) return problem(response, 404, `There is no task \`${taskId}\`.`, { code: 'not_found' })
  if (rest === '/cancel' && method === 'POST') {
    if (task.done && task.status !== 'CANCELLED') return problem(response, 409, 'The task has ended.')
    if (!task.done) api.store.append(taskId, 'task.cancelled')
    return json(response, 202, { task: api.store.tasks.get(taskId), message: 'Cancelled; the object stays.' })
  }
  if (rest === '/retry' && method === 'POST') {
    const again = api.store.add({ target: task.target, retry_of: taskId })
    const { task_id, status, links } = again
    return json(response, 202, { task_id, status, message: 'Task accepted, processing asynchronously', links })
  }
  if (rest === '/events') {
    if (request.headers.accept === 'text/event-stream') return serveEvents(api.store, taskId, { request, response })
    return json(response, 200, { items: timeline(api.store, taskId), next_page_token: null })
  }
  const seconds = Number(url.searchParams.get('wait') ?? 0)
  if (task.done || seconds === 0) return json(response, 200, task)
  const finish = () => {
    clearTimeout(timer)
    unfollow()
    json(response, 200, api.store.tasks.get(taskId))
  }
  const timer = setTimeout(finish, seconds * 1000)
  const unfollow = api.store.follow((event) => {
    // Once the projection has moved.
    if (event.task_id === taskId && isTerminalEvent(event.type)) queueMicrotask(finish)
  })
  response.on('close', () => {
    clearTimeout(timer)
    unfollow()
  })
}

function signIn(api: Api, body: unknown, response: ServerResponse) {
  const code = typeof body === 'object' && body !== null && 'code' in body ? String(body.code) : ''
  const token = api.codes.get(code)
  if (token === undefined) return problem(response, 401, 'The code is unknown, used or too old.')
  api.codes.delete(code)
  response.setHeader('set-cookie', `sluice=${token}; Path=/; HttpOnly; SameSite=Strict`)
  return json(response, 200, { principal: api.tokens.get(token), tenant: 'default', tenants: ['default'], roles: [] })
}

function accept(api: Api, body: unknown, principal: string, response: ServerResponse) {
  // The stub's callers send what the contract says; a test that sends anything else fails by the answer.
  const { operation, input, task: wished } = body as { operation: string; input: { name?: unknown }; task?: object }
  const { name } = input
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]*$/.test(name)) {
    const errors = [
      { pointer: '/input/name', message: 'must begin with a letter; lower case, digits and hyphens only' },
    ]
    return problem(response, 422, 'The input does not fit project.create.', { code: 'invalid_input', errors })
  }
  const target = `default:resourcemanager.miloapis.com/Project//${name}`
  const labels = wished !== undefined && 'labels' in wished ? { labels: wished.labels as Record<string, string> } : {}
  const task = api.store.add({ operation, target, requested_by: principal, ...labels })
  const message = 'Task accepted, processing asynchronously'
  return json(response, 202, { task_id: task.task_id, status: task.status, message, links: task.links })
}

function list(store: StubStore, url: URL, response: ServerResponse) {
  const query: Record<string, string | string[]> = {}
  for (const name of new Set(url.searchParams.keys())) {
    const values = url.searchParams.getAll(name)
    query[name] = values.length === 1 ? (values[0] ?? '') : values
  }
  const parsed = taskListQuerySchema.safeParse(query)
  if (!parsed.success) return problem(response, 400, parsed.error.issues[0]?.message ?? 'Malformed query')
  const { status, q, operation, page_size: size = 50, page_token: token } = parsed.data
  const matching = [...store.tasks.values()]
    .reverse()
    .filter((task) => status === undefined || status.includes(task.status))
    .filter((task) => operation === undefined || operation.includes(task.operation))
    .filter((task) => q === undefined || JSON.stringify(task).includes(q))
    .filter((task) => token === undefined || task.task_id < token)
  const items = matching.slice(0, size)
  const next = matching.length > size ? (items.at(-1)?.task_id ?? null) : null
  return json(response, 200, { items, next_page_token: next })
}

function serveEvents(
  store: StubStore,
  taskId: string,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
) {
  const after = BigInt(String(request.headers['last-event-id'] ?? '0'))
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  response.write(': here\n\n')
  const send = (event: TaskEvent) => {
    if (event.task_id !== taskId || BigInt(event.seq) <= after) return
    response.write(`id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    if (isTerminalEvent(event.type)) response.end()
  }
  for (const event of timeline(store, taskId)) send(event)
  if (store.tasks.get(taskId)?.done === true) {
    response.end()
    return
  }
  response.on('close', store.follow(send))
}

function serveLive(store: StubStore, socket: WebSocket) {
  const unsubscribe = new Map<string, () => void>()
  const send = (message: LiveMessage) => socket.send(JSON.stringify(message))
  const last = () => store.events.at(-1)?.seq ?? '0'
  socket.on('message', (data: Buffer) => {
    const request = liveRequestSchema.parse(JSON.parse(data.toString()))
    if ('unsubscribe' in request) return unsubscribe.get(request.unsubscribe)?.()
    const { subscribe, cursor } = request
    if (subscribe.kind === 'resource' || subscribe.kind === 'notifications') return
    const wanted = (event: TaskEvent) => subscribe.kind === 'tasks' || event.task_id === subscribe.task_id
    const deliver = (event: TaskEvent) =>
      wanted(event) && send({ subscription: subscribe.id, event: cloudEvent(event) })
    const tooOld = cursor !== undefined && Number(cursor) < store.oldestCursor
    if (tooOld) send({ subscription: subscribe.id, reset: true, cursor: last() })
    else send({ subscription: subscribe.id, ready: true, cursor: cursor ?? last() })
    if (cursor !== undefined && !tooOld) {
      for (const event of store.events) if (BigInt(event.seq) > BigInt(cursor)) deliver(event)
    }
    unsubscribe.set(subscribe.id, store.follow(deliver))
  })
  socket.on('close', () => {
    for (const end of unsubscribe.values()) end()
  })
}

function cloudEvent(event: TaskEvent) {
  return {
    specversion: '1.0',
    id: event.id,
    source: '/api/v1/tasks',
    type: event.type,
    time: event.at,
    datacontenttype: 'application/json',
    cursor: event.seq,
    data: event,
  } as const
}

function timeline(store: StubStore, taskId: string): TaskEvent[] {
  return store.events.filter((event) => event.task_id === taskId)
}

/** Of the session cookie, where no bearer token was sent. */
function csrfTokenOf(request: IncomingMessage): string | null {
  const cookie = /(?:^|; )sluice=([^;]+)/.exec(request.headers.cookie ?? '')?.[1]
  return request.headers.authorization === undefined && cookie !== undefined ? `csrf of ${cookie}` : null
}

function principalOf(api: Api, request: IncomingMessage): string | null {
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
  const cookie = /(?:^|; )sluice=([^;]+)/.exec(request.headers.cookie ?? '')?.[1]
  return api.tokens.get(bearer ?? cookie ?? '') ?? null
}

const mediaTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

function serveFile(root: string | undefined, path: string, response: ServerResponse) {
  const file = join(root ?? '/nonexistent', path === '/' ? 'index.html' : path)
  if (!existsSync(file)) return problem(response, 404, `Nothing is at ${path}`)
  const type = mediaTypes[extname(file)] ?? 'application/octet-stream'
  response.writeHead(200, { 'content-type': type, 'content-security-policy': strictPolicy })
  createReadStream(file).pipe(response)
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

function problem(response: ServerResponse, status: number, detail: string, more: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/problem+json' })
  response.end(JSON.stringify(stubProblem(status, detail, more)))
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

const projectCreate = {
  type: 'project.create',
  summary: 'Creates a project and waits until it is ready',
  class: 'short',
  timeout_ms: 300_000,
  flag: null,
  route: { method: 'POST', path: '/projects' },
  input_schema: { type: 'object', required: ['name', 'organization'] },
}

/** Behind a flag that is off. */
const diskResize = {
  ...projectCreate,
  type: 'disk.resize',
  summary: 'Resizes a disk',
  flag: { name: 'disk-resize', enabled: false },
}
