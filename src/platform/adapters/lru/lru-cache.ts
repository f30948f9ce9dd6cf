import { LRUCache } from 'lru-cache'
import type { Cache } from '../../cache.ts'
import { createGetOrSet, encodeCacheValue, requireCacheKey } from '../../cache-value.ts'

export interface LruCacheOptions {
  /** Entries kept; beyond it the least recently used goes. @default 10_000 */
  readonly maxEntries?: number
  /** Bytes of values kept, as JSON. @default 67_108_864 (64 MiB) */
  readonly maxBytes?: number
}

/** The cache of one process. A value larger than `maxBytes` is not kept. */
export function createLruCache(options: LruCacheOptions = {}): Cache {
  const entries = new LRUCache<string, string>({
    max: options.maxEntries ?? 10_000,
    maxSize: options.maxBytes ?? 64 * 1024 * 1024,
    sizeCalculation: (text) => Math.max(1, Buffer.byteLength(text)),
    // Time to live is compared with a clock read at every call; the default reads it once per millisecond tick.
    ttlResolution: 0,
  })
  const access: Pick<Cache, 'get' | 'set'> = {
    get: async <T>(key: string) => {
      requireCacheKey(key)
      const text = entries.get(key)
      // The type is the caller's claim about its key.
      return text === undefined ? undefined : (JSON.parse(text) as T)
    },
    set: async (key, value, { ttlMs }) => {
      entries.set(key, encodeCacheValue(key, value, { ttlMs }), { ttl: Math.ceil(ttlMs) })
    },
  }
  return {
    ...access,
    capabilities: { shared: false, survivesRestart: false },
    delete: async (key) => {
      requireCacheKey(key)
      // `delete` alone would count an entry that has expired and was not yet swept.
      return entries.has(key) && entries.delete(key)
    },
    exists: async (key) => {
      requireCacheKey(key)
      return entries.has(key)
    },
    getOrSet: createGetOrSet(access),
  }
}
