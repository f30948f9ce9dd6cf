import type { Backoff } from './pause.ts'

/** `connecting` is the first try; `reconnecting` means that a try failed or a connection was lost. */
export type LiveState = 'connecting' | 'open' | 'reconnecting' | 'stopped'

/** The part of a WebSocket that is used; the browser's and Node's both fit. */
export interface LiveSocket {
  onopen: ((event: Event) => unknown) | null
  onmessage: ((event: MessageEvent) => unknown) | null
  onclose: ((event: CloseEvent) => unknown) | null
  send(text: string): void
  close(): void
}

export interface ReconnectingSocketOptions {
  /** Opens a socket; rejects when even that is impossible. */
  readonly connect: () => Promise<LiveSocket>
  readonly backoff: Backoff
  /** Milliseconds without a word, once `expectWords` was called, until a connection counts as dead. */
  readonly silenceMs: number
  readonly onOpen: () => void
  readonly onMessage: (data: unknown) => void
  readonly onState: (state: LiveState) => void
}

/** A socket that comes back, with backoff, until it is stopped. */
export interface ReconnectingSocket {
  readonly state: LiveState
  /** Sends if the connection stands; what is not sent is for `onOpen` to make up for. */
  send(text: string): void
  /** Gives this connection up and tries another. */
  reconnect(): void
  /** From now on silence means death: the server is known to say something every so often. */
  expectWords(): void
  /** Closes for good; idempotent. */
  stop(): void
}

/** Milliseconds a handshake may take. */
const connectMs = 20_000
/** Milliseconds a connection must have stood for its end not to count as one more failure. */
const stoodMs = 5_000

// Longer than most: seven small functions over one state, which nobody else may touch.
export function createReconnectingSocket(options: ReconnectingSocketOptions): ReconnectingSocket {
  let state: LiveState = 'connecting'
  let socket: LiveSocket | null = null
  let openedAt: number | null = null
  let wordsExpected = false
  let failures = 0
  let tries = 0
  let retry: ReturnType<typeof setTimeout> | undefined
  let silence: ReturnType<typeof setTimeout> | undefined

  const setState = (next: LiveState) => {
    if (state === next || state === 'stopped') return
    state = next
    options.onState(next)
  }
  const expectWithin = (ms: number) => {
    clearTimeout(silence)
    silence = setTimeout(reconnect, ms)
  }
  const drop = () => {
    clearTimeout(silence)
    clearTimeout(retry)
    openedAt = null
    tries += 1
    if (socket === null) return
    // Deaf first: the close event of a dead connection can come minutes later, when another has long taken its place.
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close()
    socket = null
  }
  const reconnect = () => {
    // A server that closes at once, or sends what we cannot read, is asked less and less often.
    const stood = openedAt !== null && Date.now() - openedAt > stoodMs
    drop()
    if (state === 'stopped') return
    failures = stood ? 1 : failures + 1
    setState('reconnecting')
    retry = setTimeout(connect, options.backoff(failures))
  }
  const connect = () => {
    drop()
    const mine = tries
    expectWithin(connectMs)
    options.connect().then(
      (opened) => (mine === tries ? listen(opened) : opened.close()),
      () => mine === tries && reconnect(),
    )
  }
  const listen = (opened: LiveSocket) => {
    socket = opened
    opened.onopen = () => {
      openedAt = Date.now()
      if (wordsExpected) expectWithin(options.silenceMs)
      else clearTimeout(silence)
      setState('open')
      options.onOpen()
    }
    opened.onmessage = (event) => {
      if (wordsExpected) expectWithin(options.silenceMs)
      options.onMessage(event.data)
    }
    opened.onclose = reconnect
  }
  // Node has no such event; a browser that is back online need not wait for the timer.
  const hasten = () => {
    if (openedAt === null && state !== 'stopped') connect()
  }
  globalThis.addEventListener?.('online', hasten)

  connect()
  return {
    get state() {
      return state
    },
    send: (text) => {
      if (openedAt !== null) socket?.send(text)
    },
    reconnect,
    expectWords: () => {
      wordsExpected = true
      expectWithin(options.silenceMs)
    },
    stop: () => {
      setState('stopped')
      drop()
      globalThis.removeEventListener?.('online', hasten)
    },
  }
}
