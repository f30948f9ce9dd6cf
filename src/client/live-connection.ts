import type { TaskEvent } from '../contract/event.ts'
import { liveMessageSchema, type LiveMessage, type LiveRequest } from '../contract/live.ts'
import type { Backoff } from './pause.ts'

/** `connecting` is the first try; `reconnecting` means that a try failed or a connection was lost. */
export type LiveState = 'connecting' | 'open' | 'reconnecting' | 'stopped'

export interface LiveSubscribeOptions {
  /** What to hear of: every task the caller may see, or one. */
  readonly to: { readonly kind: 'tasks' } | { readonly kind: 'task'; readonly taskId: string }
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

/** Ends by `stop()`, which may be called more than once. */
export interface LiveSubscription {
  stop(): void
}

/** One WebSocket with any number of subscriptions. It reconnects, with backoff, until it is stopped. */
export interface LiveConnection {
  readonly state: LiveState
  /** Calls back on every change of `state`; the returned function ends that. */
  onStateChange(listener: (state: LiveState) => void): () => void
  subscribe(options: LiveSubscribeOptions): LiveSubscription
  /** Closes for good; idempotent. */
  stop(): void
}

/** The part of a WebSocket that is used; the browser's and Node's both fit. */
export interface LiveSocket {
  onopen: ((event: Event) => unknown) | null
  onmessage: ((event: MessageEvent) => unknown) | null
  onclose: ((event: CloseEvent) => unknown) | null
  send(text: string): void
  close(): void
}

export interface LiveConnectionOptions {
  /** Opens a socket; rejects when even that is impossible. */
  readonly connect: () => Promise<LiveSocket>
  readonly backoff: Backoff
  /** Milliseconds without a word, once the server has shown that it sends heartbeats (each 15 s), until the connection counts as dead. @default 45_000 */
  readonly silenceMs?: number | undefined
}

/** Milliseconds a handshake may take. */
const connectMs = 20_000

interface Subscription {
  readonly id: string
  readonly options: LiveSubscribeOptions
  cursor: string | undefined
}

export function createLiveConnection(options: LiveConnectionOptions): LiveConnection {
  const silenceMs = options.silenceMs ?? 45_000
  const subscriptions = new Map<string, Subscription>()
  const listeners = new Set<(state: LiveState) => void>()
  let state: LiveState = 'connecting'
  let socket: LiveSocket | null = null
  let open = false
  let openedAt = 0
  let heartbeats = false
  let failures = 0
  let tries = 0
  let nextId = 1
  let retry: ReturnType<typeof setTimeout> | undefined
  let silence: ReturnType<typeof setTimeout> | undefined

  const setState = (next: LiveState) => {
    if (state === next || state === 'stopped') return
    state = next
    for (const listener of [...listeners]) listener(next)
  }

  const send = (request: LiveRequest) => {
    if (open) socket?.send(JSON.stringify(request))
  }

  const announce = (subscription: Subscription) => {
    const { to } = subscription.options
    const cursor = subscription.cursor === undefined ? {} : { cursor: subscription.cursor }
    const { id } = subscription
    send({
      subscribe: to.kind === 'task' ? { id, kind: 'task', task_id: to.taskId } : { id, kind: 'tasks' },
      ...cursor,
    })
  }

  const drop = () => {
    clearTimeout(silence)
    open = false
    tries += 1
    if (socket === null) return
    // Deaf first: the close event of a dead connection can come minutes later, when another has long taken its place.
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close()
    socket = null
  }

  const reconnect = () => {
    // A server that closes at once, or sends what we cannot read, is asked less and less often.
    const stood = open && Date.now() - openedAt > 5000
    drop()
    if (state === 'stopped') return
    failures = stood ? 1 : failures + 1
    setState('reconnecting')
    clearTimeout(retry)
    retry = setTimeout(connect, options.backoff(failures))
  }

  const expectWord = (withinMs: number) => {
    clearTimeout(silence)
    silence = setTimeout(reconnect, withinMs)
  }

  const connect = () => {
    clearTimeout(retry)
    drop()
    const mine = ++tries
    expectWord(connectMs)
    options.connect().then(
      (opened) => {
        if (mine === tries && state !== 'stopped') listen(opened)
        else opened.close()
      },
      () => mine === tries && reconnect(),
    )
  }

  const listen = (current: LiveSocket) => {
    socket = current
    current.onopen = () => {
      open = true
      openedAt = Date.now()
      if (heartbeats) expectWord(silenceMs)
      else clearTimeout(silence)
      setState('open')
      for (const subscription of subscriptions.values()) announce(subscription)
    }
    current.onmessage = (event) => {
      const message = readMessage(event.data)
      // What this version does not know may be all that the server sends now; begin again rather than go deaf.
      if (message === null) return reconnect()
      heartbeats ||= 'heartbeat' in message
      if (heartbeats) expectWord(silenceMs)
      if ('heartbeat' in message) return
      if ('error' in message && message.error.code === 'interrupted') return reconnect()
      dispatch(message, subscriptions)
    }
    current.onclose = reconnect
  }

  const hasten = () => {
    if (!open && state !== 'stopped') connect()
  }
  // Node has no such event; a browser that is back online need not wait for the timer.
  globalThis.addEventListener?.('online', hasten)

  connect()
  return {
    get state() {
      return state
    },
    onStateChange: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    subscribe: (subscribeOptions) => {
      const subscription = { id: `s${nextId++}`, options: subscribeOptions, cursor: subscribeOptions.cursor }
      subscriptions.set(subscription.id, subscription)
      announce(subscription)
      return {
        stop: () => {
          if (subscriptions.delete(subscription.id)) send({ unsubscribe: subscription.id })
        },
      }
    },
    stop: () => {
      setState('stopped')
      clearTimeout(retry)
      drop()
      subscriptions.clear()
      listeners.clear()
      globalThis.removeEventListener?.('online', hasten)
    },
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
  if ('event' in message) {
    const { cursor, data } = message.event
    if (subscription.cursor !== undefined && BigInt(cursor) <= BigInt(subscription.cursor)) return
    subscription.cursor = cursor
    subscription.options.onEvent(data)
    return
  }
  if ('reset' in message) {
    subscription.cursor = message.cursor
    subscription.options.onReset?.(message.cursor)
    return
  }
  // Taken up "from now on": this is where now was, and where to resume even if no event ever came.
  subscription.cursor ??= message.cursor
  subscription.options.onReady?.(message.cursor)
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
