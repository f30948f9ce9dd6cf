import { z } from 'zod'
import {
  decisionAnswerSchema,
  explainSchema,
  policySchema,
  ticketDetailSchema,
  ticketItemPageSchema,
  ticketPageSchema,
  type ApproveRequest,
  type DecisionAnswer,
  type Explanation,
  type PolicyAnswer,
  type RejectRequest,
  type TicketDetail,
  type TicketFilter,
  type TicketItemPage,
  type TicketItemsPage,
  type TicketPage,
} from '../contract/approval.ts'
import { eventPageSchema, type TaskEvent } from '../contract/event.ts'
import { operationPageSchema, type Operation } from '../contract/operation.ts'
import {
  livePassSchema,
  sessionCodeSchema,
  signedOutSchema,
  signInOptionsSchema,
  type Me,
  type SessionCode,
  type SignedOut,
  type SignInOptions,
} from '../contract/session.ts'
import type { TaskFilter } from '../contract/task-list.ts'
import {
  acceptedSchema,
  cancelAnswerSchema,
  taskPageSchema,
  taskSchema,
  type Accepted,
  type CancelAnswer,
  type Task,
  type TaskOptions,
  type TaskPage,
} from '../contract/task.ts'
import { type AuditCalls, createAuditCalls } from './audit-calls.ts'
import { createEngineCalls, type EngineCalls } from './engine-calls.ts'
import { type AccessCalls, createAccessCalls } from './access-calls.ts'
import { type ClusterCalls, createClusterCalls } from './cluster-calls.ts'
import { createInboxCalls, type InboxCalls } from './inbox-calls.ts'
import { createWebhookCalls, type WebhookCalls } from './webhook-calls.ts'
import { createExchange, type Exchange, type ExchangeOptions } from './exchange.ts'
import { createLiveConnection, type LiveConnection } from './live-connection.ts'
import { createBackoff, pause, type Backoff } from './pause.ts'
import { isPassing } from './sluice-problem.ts'
import type { LiveSocket } from './reconnecting-socket.ts'
import { waitForTask, type WaitForTaskOptions } from './wait-for-task.ts'
import { watchTask, type WatchTaskOptions } from './watch-task.ts'

export interface ClientOptions extends ExchangeOptions {
  /** Where the server listens, for instance `https://sluice.example.com`; '' in a page that the server itself served. */
  readonly baseUrl: string
  /** A bearer token. A browser leaves it out and has a session cookie instead. */
  readonly token?: string | undefined
  /** Needed by a principal of several tenants only. */
  readonly tenant?: string | undefined
  /** Replaces the built-in fetch. */
  readonly fetch?: typeof globalThis.fetch | undefined
  /** Replaces the built-in WebSocket; `headers` carry the token. */
  readonly webSocket?: ((url: string, headers: Readonly<Record<string, string>>) => LiveSocket) | undefined
  /** Milliseconds between tries. @default 0.5 s doubling to 15 s, with jitter */
  readonly backoff?: Backoff | undefined
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
}

export interface SubmitOptions extends RequestOptions {
  /**
   * Under one key a change is accepted once, however often it is sent. Any UUID or up to 255 visible ASCII characters.
   * @default a new UUID, which makes the repetitions of this very call harmless
   */
  readonly idempotencyKey?: string | undefined
  /** Seconds (up to 30) the answer may be held back for the task to end in. @default 0 */
  readonly waitSeconds?: number | undefined
  /** Time limit, start time, priority, labels, … */
  readonly task?: TaskOptions | undefined
}

/**
 * Everything a program may ask of a Sluice server. Answers are parsed by the contract's schemas. Every method throws
 * SluiceProblem where the server refuses, UnreachableError where nobody answers, and the signal's reason on abort.
 */
export interface SluiceClient extends EngineCalls, AccessCalls, InboxCalls, ClusterCalls, AuditCalls, WebhookCalls {
  /** Asks for a change. Repeated up to twice when nobody answers, which the idempotency key makes safe. */
  submit(operation: string, input: Readonly<Record<string, unknown>>, options?: SubmitOptions): Promise<Accepted>
  /** The task; with `waitSeconds` (up to 30) the answer may be held back until it ends. */
  getTask(taskId: string, options?: RequestOptions & { readonly waitSeconds?: number | undefined }): Promise<Task>
  /** The result of a completed task as the server sends it, however large. The caller reads the body. */
  openTaskResult(taskId: string, options?: RequestOptions): Promise<Response>
  /** Newest first, `page_size` (50, at most 200) at a time. */
  listTasks(filter?: TaskFilter, options?: RequestOptions): Promise<TaskPage>
  /** Ends a task. The answer's message says what cannot be undone. Again on a cancelled task: the same answer. */
  cancelTask(taskId: string, options?: RequestOptions): Promise<CancelAnswer>
  /** The timeline so far, oldest first. */
  taskEvents(taskId: string, options?: RequestOptions): Promise<TaskEvent[]>
  /** The timeline as it grows, until the terminal event; resumes by itself, missing and repeating nothing. */
  watchTask(taskId: string, options?: WatchTaskOptions): AsyncGenerator<TaskEvent, void, undefined>
  /** Resolves with the task once it has ended, however it ended. */
  waitForTask(taskId: string, options?: WaitForTaskOptions): Promise<Task>
  /** The kinds of change this server knows. */
  operations(options?: RequestOptions): Promise<Operation[]>
  /** Open tickets that the caller may decide, oldest first; or those of another state, or the caller's own. */
  listTickets(filter?: TicketFilter, options?: RequestOptions): Promise<TicketPage>
  /** One ticket with its exact payload, and what the cluster says of it now. */
  getTicket(ticketId: string, options?: RequestOptions): Promise<TicketDetail>
  /** The changes that a ticket is about, each with its payload, in the order of their batch. */
  ticketItems(ticketId: string, page?: TicketItemsPage, options?: RequestOptions): Promise<TicketItemPage>
  /** Agrees to the payload of this hash. With the last approval that is needed, the task runs. */
  approveTicket(ticketId: string, said: ApproveRequest, options?: RequestOptions): Promise<DecisionAnswer>
  /** Refuses: the task ends. Of a batch, those items that are named, or all that wait. */
  rejectTicket(ticketId: string, said?: RejectRequest, options?: RequestOptions): Promise<DecisionAnswer>
  /** Takes back what the caller asked for. */
  withdrawTicket(
    ticketId: string,
    said?: { readonly comment?: string },
    options?: RequestOptions,
  ): Promise<DecisionAnswer>
  /** The policy in force, and its versions before. */
  policy(options?: RequestOptions): Promise<PolicyAnswer>
  /** Which rule a request of the caller's would meet, and why. Asks for nothing. */
  explainPolicy(
    operation: string,
    input: Readonly<Record<string, unknown>>,
    options?: RequestOptions,
  ): Promise<Explanation>
  me(options?: RequestOptions): Promise<Me>
  /** Exchanges a one-time code for a session cookie (browsers). */
  signIn(code: string, options?: RequestOptions): Promise<void>
  /** How a browser may sign in, besides with a one-time code. */
  signInOptions(options?: RequestOptions): Promise<SignInOptions>
  /** Ends the session; the answer says where the one at the identity provider ends. */
  signOut(options?: RequestOptions): Promise<SignedOut>
  /** A new one-time link into the console, for the caller. */
  createSignInLink(options?: RequestOptions): Promise<SessionCode>
  /** Opens a WebSocket that lives until it is stopped. */
  live(): LiveConnection
}

/**
 * A client for Node ≥22 and browsers.
 * @example
 * const client = createClient({ baseUrl: 'http://127.0.0.1:8080', token })
 * const { task_id } = await client.submit('project.create', { name: 'acme', organization: 'test' })
 * const task = await client.waitForTask(task_id)
 */
export function createClient(options: ClientOptions): SluiceClient {
  const exchange = createExchange(options)
  const backoff = options.backoff ?? createBackoff()
  return {
    ...createAccessCalls(exchange),
    ...createAuditCalls(exchange),
    ...createWebhookCalls(exchange),
    ...createInboxCalls(exchange),
    ...createClusterCalls(exchange),
    submit: (operation, input, submitOptions = {}) => submit(exchange, backoff, { operation, input, ...submitOptions }),
    getTask: (taskId, { waitSeconds, signal } = {}) =>
      exchange.request(taskSchema, {
        path: taskPath(taskId),
        query: { wait: waitSeconds },
        extraMs: (waitSeconds ?? 0) * 1000,
        signal,
      }),
    openTaskResult: (taskId, { signal } = {}) =>
      exchange.open({ path: `${taskPath(taskId)}/result`, headers: { accept: '*/*' }, signal }),
    listTasks: (filter = {}, { signal } = {}) =>
      exchange.request(taskPageSchema, { path: '/tasks', query: filter, signal }),
    cancelTask: (taskId, { signal } = {}) =>
      exchange.request(cancelAnswerSchema, { method: 'POST', path: `${taskPath(taskId)}/cancel`, signal }),
    taskEvents: (taskId, { signal } = {}) => readTimeline(exchange, `${taskPath(taskId)}/events`, signal),
    watchTask: (taskId, watchOptions = {}) => watchTask(exchange, backoff, { ...watchOptions, taskId }),
    waitForTask: (taskId, waitOptions = {}) => waitForTask(exchange, backoff, { ...waitOptions, taskId }),
    operations: async ({ signal } = {}) =>
      (await exchange.request(operationPageSchema, { path: '/operations', signal })).items,
    listTickets: ({ mine, ...filter } = {}, { signal } = {}) =>
      exchange.request(ticketPageSchema, { path: '/approvals', query: { ...filter, mine: mine?.toString() }, signal }),
    getTicket: (ticketId, { signal } = {}) =>
      exchange.request(ticketDetailSchema, { path: ticketPath(ticketId), signal }),
    ticketItems: (ticketId, page = {}, { signal } = {}) =>
      exchange.request(ticketItemPageSchema, { path: `${ticketPath(ticketId)}/items`, query: { ...page }, signal }),
    approveTicket: (ticketId, said, { signal } = {}) =>
      decide(exchange, { path: `${ticketPath(ticketId)}/approve`, body: said, signal }),
    rejectTicket: (ticketId, said = {}, { signal } = {}) =>
      decide(exchange, { path: `${ticketPath(ticketId)}/reject`, body: said, signal }),
    withdrawTicket: (ticketId, said = {}, { signal } = {}) =>
      decide(exchange, { path: `${ticketPath(ticketId)}/withdraw`, body: said, signal }),
    policy: ({ signal } = {}) => exchange.request(policySchema, { path: '/policies', signal }),
    explainPolicy: (operation, input, { signal } = {}) =>
      exchange.request(explainSchema, {
        method: 'POST',
        path: '/policies/explain',
        body: { operation, input },
        signal,
      }),
    me: ({ signal } = {}) => exchange.me(signal),
    signIn: async (code, { signal } = {}) => {
      await exchange.request(z.unknown(), { method: 'POST', path: '/session', body: { code }, signal })
    },
    signInOptions: ({ signal } = {}) => exchange.request(signInOptionsSchema, { path: '/session/options', signal }),
    signOut: ({ signal } = {}) => exchange.request(signedOutSchema, { method: 'DELETE', path: '/session', signal }),
    createSignInLink: ({ signal } = {}) =>
      exchange.request(sessionCodeSchema, { method: 'POST', path: '/session/codes', signal }),
    ...createEngineCalls(exchange),
    live: () => createLiveConnection({ connect: () => openSocket(exchange, options), backoff }),
  }
}

async function submit(
  exchange: Exchange,
  backoff: Backoff,
  change: SubmitOptions & { readonly operation: string; readonly input: Readonly<Record<string, unknown>> },
): Promise<Accepted> {
  const { operation, input, task, waitSeconds, signal } = change
  const headers: Record<string, string> = { 'idempotency-key': change.idempotencyKey ?? crypto.randomUUID() }
  if (waitSeconds !== undefined && waitSeconds > 0) headers['prefer'] = `wait=${waitSeconds}`
  for (let failures = 0; ;) {
    try {
      return await exchange.request(acceptedSchema, {
        method: 'POST',
        path: '/tasks',
        body: { operation, input, task },
        headers,
        extraMs: (waitSeconds ?? 0) * 1000,
        signal,
      })
    } catch (error) {
      failures += 1
      if (!isPassing(error) || failures > 2) throw error
      await pause(Math.max(error.retryAfterMs ?? 0, backoff(failures)), signal)
    }
  }
}

async function readTimeline(exchange: Exchange, path: string, signal: AbortSignal | undefined): Promise<TaskEvent[]> {
  const events: TaskEvent[] = []
  let pageToken: string | undefined
  do {
    const query = { page_token: pageToken }
    const page = await exchange.request(eventPageSchema, { path, query, signal })
    events.push(...page.items)
    pageToken = page.next_page_token ?? undefined
  } while (pageToken !== undefined)
  return events
}

interface SaidDecision {
  readonly path: string
  readonly body: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal | undefined
}

const decide = (exchange: Exchange, { path, body, signal }: SaidDecision): Promise<DecisionAnswer> =>
  exchange.request(decisionAnswerSchema, { method: 'POST', path, body, signal })

function ticketPath(ticketId: string): string {
  return `/approvals/${encodeURIComponent(ticketId)}`
}

function taskPath(taskId: string): string {
  return `/tasks/${encodeURIComponent(taskId)}`
}

async function openSocket(exchange: Exchange, options: ClientOptions): Promise<LiveSocket> {
  const { headers } = exchange
  const inBrowser = typeof document !== 'undefined'
  if (options.webSocket !== undefined) return options.webSocket(liveUrl(exchange), headers)
  if (!inBrowser || options.token === undefined) return openWebSocket(liveUrl(exchange), inBrowser ? {} : headers)
  // A browser sends no header with a WebSocket, and a token must not stand in an address: a pass works once.
  const { pass } = await exchange.request(livePassSchema, { method: 'POST', path: '/live/passes' })
  return openWebSocket(liveUrl(exchange, { pass }), {})
}

function openWebSocket(url: string, headers: Readonly<Record<string, string>>): LiveSocket {
  // Node's WebSocket takes headers in the place of the protocols; the typings are the browser's.
  return Object.keys(headers).length === 0 ? new WebSocket(url) : new WebSocket(url, { headers } as unknown as string[])
}

function liveUrl(exchange: Exchange, query: Readonly<Record<string, string>> = {}): string {
  // Relative in a page that the server served; Node always has an absolute base address.
  const url = new URL(exchange.address('/live', query), globalThis.location?.href)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}
