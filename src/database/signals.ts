import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { Client, type Pool } from 'pg'

/** What a process can tell the others. A signal is a hint that carries no data: whoever hears it looks for itself. */
export type Signal = 'events' | 'short' | 'long' | 'finish' | 'deliver' | 'dead' | 'waits' | 'cancel' | 'clusters'

const channel = 'sluice'
const notify = `select set_config('synchronous_commit', 'off', true), pg_notify($1, $2)`

export interface SignalSender {
  /**
   * Tells every process, this one included, after the commit. Coalesced: while one notification is on its way,
   * further ones travel together in the next. Never inside a transaction: NOTIFY would serialise the commits.
   */
  send(...signals: readonly Signal[]): void
  /** Resolves when nothing is on its way any more. */
  stop(): Promise<void>
}

/** @param near the listener of this process: it hears at once, without the way over the database */
export function createSignalSender(
  pool: Pool,
  onError: (error: Error) => void,
  near?: Pick<SignalListener, 'hear' | 'id'>,
): SignalSender {
  const waiting = new Set<Signal>()
  let sending: Promise<void> | undefined

  const sendAll = async (): Promise<void> => {
    while (waiting.size > 0) {
      const payload = [...waiting, ...(near ? [near.id] : [])].join(' ')
      waiting.clear()
      // A lost signal costs latency only: polling stands behind every one. So nobody waits for it to reach the disk.
      await pool.query(notify, [channel, payload]).catch(onError)
    }
    sending = undefined
  }

  return {
    send: (...signals) => {
      for (const signal of signals) waiting.add(signal)
      sending ??= sendAll()
      near?.hear(signals)
    },
    stop: async () => {
      await sending
    },
  }
}

export interface SignalListener {
  /** Calls `listener` on the signal, and once after every reconnect, since signals sent meanwhile are lost. */
  on(signal: Signal, listener: () => void): void
  /** Stands in what the sender of this process sends, which this process has heard already. */
  readonly id: string
  /** As if these signals had arrived. */
  hear(signals: readonly Signal[]): void
  /** Whether the connection stands. */
  readonly connected: boolean
  start(): Promise<void>
  stop(): Promise<void>
}

export interface SignalListenerOptions {
  readonly url: string
  readonly onError: (error: Error) => void
  /** Milliseconds between the queries that prove the connection alive: a half-open one is silent. @default 10_000 */
  readonly heartbeatMs?: number
  /** Milliseconds before the connection is opened again. @default 500 */
  readonly reconnectMs?: number
}

/** Holds the one connection outside the pool: LISTEN belongs to a session. */
export function createSignalListener(options: SignalListenerOptions): SignalListener {
  const id = randomUUID()
  // What a signal sets off is nobody's request: its lines and spans must not say so.
  const outside = AsyncLocalStorage.snapshot()
  const listeners = new Map<Signal, Set<() => void>>()
  let client: Client | undefined
  let heartbeat: NodeJS.Timeout | undefined
  let reconnect: NodeJS.Timeout | undefined
  let stopped = false

  const fire = (signal: Signal) => {
    for (const listener of listeners.get(signal) ?? []) listener()
  }

  const drop = (connection: Client, error: Error): void => {
    if (client !== connection) return
    client = undefined
    clearInterval(heartbeat)
    connection.removeAllListeners('notification')
    connection.end().catch(() => undefined)
    if (stopped) return
    options.onError(error)
    reconnect = setTimeout(() => void connect().catch(scheduleAgain), options.reconnectMs ?? 500)
  }

  const scheduleAgain = (error: Error): void => {
    if (stopped) return
    options.onError(error)
    reconnect = setTimeout(() => void connect().catch(scheduleAgain), options.reconnectMs ?? 500)
  }

  const connect = async (): Promise<void> => {
    const connection = new Client({
      connectionString: options.url,
      application_name: 'sluice listen',
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
      connectionTimeoutMillis: 5_000,
      query_timeout: 5_000,
    })
    connection.on('error', (error) => drop(connection, error))
    connection.on('end', () => drop(connection, new Error('the server closed the LISTEN connection')))
    connection.on('notification', (message) => {
      // The payload is ours: words of `Signal`, separated by spaces. An unknown one has no listener.
      const words = (message.payload ?? '').split(' ')
      if (!words.includes(id)) for (const word of words) fire(word as Signal)
    })
    try {
      await connection.connect()
      await connection.query(`listen ${channel}`)
    } catch (error) {
      connection.removeAllListeners('end')
      connection.end().catch(() => undefined)
      throw error
    }
    if (stopped) {
      await connection.end()
      return
    }
    client = connection
    heartbeat = setInterval(() => {
      connection.query('select 1').catch((error: Error) => drop(connection, error))
    }, options.heartbeatMs ?? 10_000)
    for (const signal of listeners.keys()) fire(signal)
  }

  return {
    id,
    hear: (signals) => {
      if (!stopped) for (const signal of signals) outside(fire, signal)
    },
    on: (signal, listener) => {
      const set = listeners.get(signal) ?? new Set()
      set.add(listener)
      listeners.set(signal, set)
    },
    get connected() {
      return client !== undefined
    },
    start: connect,
    stop: async () => {
      stopped = true
      clearTimeout(reconnect)
      clearInterval(heartbeat)
      const connection = client
      client = undefined
      await connection?.end().catch(() => undefined)
    },
  }
}
