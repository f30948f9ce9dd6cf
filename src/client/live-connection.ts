import type { TaskEvent } from '../contract/event.ts'
import { liveMessageSchema, type LiveMessage, type LiveRequest } from '../contract/live.ts'
import { createReconnectingSocket, type LiveState, type ReconnectingSocketOptions } from './reconnecting-socket.ts'

export interface LiveSubscribeOptions {
  /** What to hear of: every task the caller may see, one of them, or what concerns the caller (`data` is the notification). */
  readonly to: { readonly kind: 'tasks' | 'notifications' } | { readonly kind: 'task'; readonly taskId: string }
  /** Begin after this event (`seq`); without it, from now on. */
  readonly cursor?: string | undefined
  /** Called once per event, in order; across reconnections nothing is missed or repeated. */
  readonly onEvent: (event: TaskEvent) => void
  /** The server has taken the subscription up, after the first connection and after each later one. */
  readonly onReady?: ((cursor: string) => void) | undefined
  /** The cursor was older than what the server keeps: read again whatever was built from events; later events follow. */
  readonly onReset?: ((cursor: string) => void) | undefined
  /** The server refused the subscription; it is over. */
  readonly onRefused?: ((error: { readonly code: string; readonly detail: string }) => void) | undefined
}

/** What an object subscription tells: the state first, then every change. */
export type ObjectChange = Extract<LiveMessage, { resource: unknown }>['resource']

export interface LiveObjectOptions {
  readonly to: {
    readonly kind: 'resource'
    /** @default 'default' */
    readonly cluster?: string | undefined
    readonly apiVersion: string
    readonly objectKind: string
    readonly namespace?: string | undefined
    readonly name?: string | undefined
    /** Fills the cluster's base-path template. */
    readonly basePath?: Readonly<Record<string, string>> | undefined
  }
  /** After a reconnection the state is told again, from the beginning. */
  readonly onChange: (change: ObjectChange) => void
  readonly onRefused?: ((error: { readonly code: string; readonly detail: string }) => void) | undefined
}

/** Ends by `stop()`, which may be called more than once. */
export interface LiveSubscription {
  stop(): void
}

/** One WebSocket with any number of subscriptions. It reconnects, with backoff, until it is stopped. */
export interface LiveConnection {
  readonly state: LiveState
  /** Calls back on every change of `state`; the returned function ends that. */
  onStateChange(listener: (state: LiveState) => void): () => void
  subscribe(options: LiveSubscribeOptions | LiveObjectOptions): LiveSubscription
  /** Closes for good; idempotent. */
  stop(): void
}

export interface LiveConnectionOptions extends Pick<ReconnectingSocketOptions, 'connect' | 'backoff'> {
  /** Milliseconds without a heartbeat (the server sends one each 15 s) until a connection counts as dead. @default 45_000 */
  readonly silenceMs?: number | undefined
}

interface Subscription {
  readonly id: string
  readonly options: LiveSubscribeOptions | LiveObjectOptions
  cursor: string | undefined
}

export function createLiveConnection({ connect, backoff, silenceMs = 45_000 }: LiveConnectionOptions): LiveConnection {
  const subscriptions = new Map<string, Subscription>()
  const listeners = new Set<(state: LiveState) => void>()
  let nextId = 1
  const send = (request: LiveRequest) => socket.send(JSON.stringify(request))
  const socket = createReconnectingSocket({
    connect,
    backoff,
    silenceMs,
    onState: (state) => {
      for (const listener of listeners) listener(state)
    },
    onOpen: () => {
      for (const subscription of subscriptions.values()) send(subscribeRequest(subscription))
    },
    onMessage: (data) => {
      const message = readMessage(data)
      if (message !== null && 'heartbeat' in message) return socket.expectWords()
      // What cannot be read may be an event: resume from the last one that could, rather than miss it.
      const broken = message === null || ('error' in message && message.error.code === 'interrupted')
      return broken ? socket.reconnect() : dispatch(message, subscriptions)
    },
  })
  return {
    get state() {
      return socket.state
    },
    onStateChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    subscribe: (options) => {
      const subscription = { id: `s${nextId++}`, options, cursor: 'cursor' in options ? options.cursor : undefined }
      subscriptions.set(subscription.id, subscription)
      send(subscribeRequest(subscription))
      return {
        stop: () => {
          if (subscriptions.delete(subscription.id)) send({ unsubscribe: subscription.id })
        },
      }
    },
    stop: () => {
      socket.stop()
      subscriptions.clear()
      listeners.clear()
    },
  }
}

function subscribeRequest({ id, options: { to }, cursor }: Subscription): LiveRequest {
  if (to.kind === 'resource') return { subscribe: objectRequest(id, to) }
  const subscribe = to.kind === 'task' ? { id, kind: to.kind, task_id: to.taskId } : { id, kind: to.kind }
  return cursor === undefined ? { subscribe } : { subscribe, cursor }
}

function objectRequest(id: string, to: LiveObjectOptions['to']) {
  const { cluster = 'default', apiVersion, objectKind, namespace, name, basePath } = to
  return {
    id,
    kind: 'resource' as const,
    cluster,
    api_version: apiVersion,
    object_kind: objectKind,
    namespace,
    name,
    base_path: basePath && { ...basePath },
  }
}

function dispatch(message: Exclude<LiveMessage, { heartbeat: true }>, subscriptions: Map<string, Subscription>): void {
  const subscription = message.subscription === null ? undefined : subscriptions.get(message.subscription)
  // Events that were on their way when the subscription was stopped.
  if (subscription === undefined) return
  if ('error' in message) {
    subscriptions.delete(subscription.id)
    subscription.options.onRefused?.(message.error)
    return
  }
  const { options } = subscription
  if (!('onEvent' in options)) {
    if ('resource' in message) options.onChange(message.resource)
    return
  }
  if ('resource' in message) return
  if ('event' in message) {
    const { cursor, data } = message.event
    if (subscription.cursor !== undefined && BigInt(cursor) <= BigInt(subscription.cursor)) return
    subscription.cursor = cursor
    options.onEvent(data)
    return
  }
  if ('reset' in message) {
    subscription.cursor = message.cursor
    options.onReset?.(message.cursor)
    return
  }
  // Taken up "from now on": this is where now was, and where to resume even if no event ever came.
  subscription.cursor ??= message.cursor
  options.onReady?.(message.cursor)
}

function readMessage(data: unknown): LiveMessage | null {
  if (typeof data !== 'string') return null
  try {
    const parsed = liveMessageSchema.safeParse(JSON.parse(data))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}
