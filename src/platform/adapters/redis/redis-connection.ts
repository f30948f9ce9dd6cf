import type { Logger } from '../../logger.ts'
import { ServiceNotRunningError, ServiceUnavailableError } from '../../platform-error.ts'
import { loadLibrary } from '../../load-library.ts'

export interface RedisOptions {
  /** `redis://user:password@host:port/database`, or `rediss://…` for TLS. */
  readonly url: string
  /** What every key starts with. @default 'sluice' */
  readonly keyPrefix?: string
  /** Milliseconds to wait for a connection and for each answer. @default 5_000 */
  readonly timeoutMs?: number
  readonly logger: Logger
}

/** One connection. A command sent while it is broken fails at once; it reconnects by itself, for as long as it takes. */
export interface RedisConnection {
  /** Sends one command. @throws ServiceUnavailableError; what the server refuses stays as it is */
  send(...command: readonly (string | number)[]): Promise<unknown>
  /** Runs a script as one step. */
  run(script: RedisScript, keys: readonly string[], ...values: readonly (string | number)[]): Promise<unknown>
  close(): Promise<void>
}

export interface RedisScript {
  readonly lua: string
}

/** Longest wait between two attempts to reconnect, in milliseconds. */
const reconnectMaxMs = 1_000

// The server is there and cannot answer yet, or not in its present role.
const notNow = /^(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|READONLY|TRYAGAIN|NOREPLICAS)\b/

export async function connectRedis(options: RedisOptions): Promise<RedisConnection> {
  const { url, logger, timeoutMs = 5_000 } = options
  const { createClient, ErrorReply } = await loadLibrary('redis', 'redis', () => import('redis'))
  let established = false
  const create = () =>
    createClient({
      url,
      RESP: 2,
      // A command that waits for a reconnect would neither be answered nor fail.
      disableOfflineQueue: true,
      pingInterval: 10_000,
      socket: {
        connectTimeout: timeoutMs,
        reconnectStrategy: (retries) => (established ? Math.min(50 * 2 ** retries, reconnectMaxMs) : false),
      },
    }).on('error', (error: unknown) => logger.warn('The connection to Redis broke; reconnecting', { error }))
  let client = create()
  try {
    await client.connect()
  } catch (error) {
    client.destroy()
    throw new ServiceUnavailableError('redis', `Redis cannot be reached at ${withoutPassword(url)}`, { cause: error })
  }
  established = true

  // A connection whose other end is gone without a word looks sound for many minutes: only the missing answer tells.
  const replace = (silent: typeof client): void => {
    if (silent !== client || !silent.isReady) return
    client = create()
    // Never rejects for good: an established connection is tried again until it is closed.
    client.connect().catch((error: unknown) => logger.warn('Redis cannot be reached', { error }))
    silent.destroy()
  }
  const send = async (command: readonly (string | number)[]): Promise<unknown> => {
    if (!client.isOpen) throw new ServiceNotRunningError('The connection to Redis was closed')
    try {
      return await within(timeoutMs, client.sendCommand(command.map(String)))
    } catch (error) {
      if (error instanceof NoAnswerError) replace(client)
      if (error instanceof ErrorReply && !notNow.test(error.message)) throw error
      throw new ServiceUnavailableError('redis', `Redis did not answer ${command[0]} (${String(error)})`, {
        cause: error,
      })
    }
  }
  return {
    send: (...command) => send(command),
    run: (script, keys, ...values) => send(['EVAL', script.lua, keys.length, ...keys, ...values]),
    close: async () => {
      if (client.isReady) await within(timeoutMs, client.close()).catch(() => client.destroy())
      else if (client.isOpen) client.destroy()
    },
  }
}

class NoAnswerError extends Error {}

async function within<T>(durationMs: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NoAnswerError(`no answer within ${durationMs} ms`)), durationMs)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

function withoutPassword(url: string): string {
  const { protocol, host } = new URL(url)
  return `${protocol}//${host}`
}
