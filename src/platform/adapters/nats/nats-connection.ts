import type { JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import type { Logger } from '../../logger.ts'
import { ServiceUnavailableError } from '../../platform-error.ts'
import { loadLibrary } from '../../load-library.ts'

export interface NatsOptions {
  /** `host:port`, several for a cluster. */
  readonly servers: string | readonly string[]
  readonly user?: string
  readonly password?: string
  readonly token?: string
  /** Milliseconds to wait for a connection and for each answer. @default 5_000 */
  readonly timeoutMs?: number
  readonly logger: Logger
}

export interface NatsConnection {
  readonly client: JetStreamClient
  readonly manager: JetStreamManager
  /** Runs a call and tells "not reachable" from "refused". @throws ServiceUnavailableError */
  readonly call: <T>(work: () => Promise<T>) => Promise<T>
  close(): Promise<void>
}

/** Connects once and reconnects by itself, for as long as it takes. */
export async function connectNats(options: NatsOptions): Promise<NatsConnection> {
  const { timeoutMs = 5_000, logger, servers } = options
  const { connect } = await loadLibrary('@nats-io/transport-node', 'nats', () => import('@nats-io/transport-node'))
  const library = await loadLibrary('@nats-io/jetstream', 'nats', () => import('@nats-io/jetstream'))
  const connection = await connect({
    servers: typeof servers === 'string' ? servers : [...servers],
    ...(options.user !== undefined && { user: options.user }),
    ...(options.password !== undefined && { pass: options.password }),
    ...(options.token !== undefined && { token: options.token }),
    timeout: timeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    pingInterval: 5_000,
    maxPingOut: 2,
  }).catch((cause: unknown) => {
    throw new ServiceUnavailableError('nats', `NATS cannot be reached at ${String(servers)}`, { cause })
  })
  const watching = (async () => {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') logger.warn('The connection to NATS broke; reconnecting')
    }
  })()

  const call = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      // What the server answers stays as it is; everything else means that it did not answer.
      if (error instanceof library.JetStreamApiError && error.status < 500) throw error
      throw new ServiceUnavailableError('nats', `NATS did not answer (${String(error)})`, { cause: error })
    }
  }
  try {
    const manager = await call(() => library.jetstreamManager(connection, { timeout: timeoutMs }))
    return {
      client: library.jetstream(connection, { timeout: timeoutMs }),
      manager,
      call,
      close: async () => {
        await connection.close()
        await watching
      },
    }
  } catch (error) {
    await connection.close()
    throw error
  }
}
