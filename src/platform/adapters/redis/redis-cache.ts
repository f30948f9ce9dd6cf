import type { Cache } from '../../cache.ts'
import { createGetOrSet, encodeCacheValue, requireCacheKey } from '../../cache-value.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import { ServiceNotRunningError } from '../../platform-error.ts'
import { connectRedis, type RedisConnection, type RedisOptions } from './redis-connection.ts'

/** A cache that all processes share. What a restart of the server keeps is the server's setting. */
export function createRedisCache(options: RedisOptions): Cache & Lifecycle {
  const { keyPrefix = 'sluice' } = options
  let connection: RedisConnection | undefined
  const redis = (): RedisConnection => {
    if (!connection) throw new ServiceNotRunningError('The cache is not running: call start() first')
    return connection
  }
  const full = (key: string) => {
    requireCacheKey(key)
    return `${keyPrefix}:cache:${key}`
  }
  const access: Pick<Cache, 'get' | 'set'> = {
    get: async <T>(key: string) => {
      const text = await redis().send('GET', full(key))
      // The type is the caller's claim about its key.
      return typeof text === 'string' ? (JSON.parse(text) as T) : undefined
    },
    set: async (key, value, { ttlMs }) => {
      const text = encodeCacheValue(key, value, { ttlMs })
      await redis().send('SET', full(key), text, 'PX', Math.ceil(ttlMs))
    },
  }
  return {
    ...access,
    capabilities: { shared: true, survivesRestart: true },
    delete: async (key) => (await redis().send('DEL', full(key))) === 1,
    exists: async (key) => (await redis().send('EXISTS', full(key))) === 1,
    getOrSet: createGetOrSet(access),
    start: async () => {
      connection ??= await connectRedis(options)
    },
    stop: async () => {
      const open = connection
      connection = undefined
      await open?.close()
    },
  }
}
