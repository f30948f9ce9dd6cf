import type { Cache } from '../cache.ts'
import { createGetOrSet, encodeCacheValue, requireCacheKey } from '../cache-value.ts'
import { type Clock, systemClock } from '../clock.ts'

export interface MemoryCacheOptions {
  readonly clock?: Clock
}

/** Keeps copies, not references, and expires on its clock. */
export function createMemoryCache(options: MemoryCacheOptions = {}): Cache {
  const clock = options.clock ?? systemClock
  const entries = new Map<string, { readonly text: string; readonly expiresAt: number }>()
  const live = (key: string) => {
    requireCacheKey(key)
    const entry = entries.get(key)
    if (entry && entry.expiresAt > clock.now()) return entry
    entries.delete(key)
    return undefined
  }
  const access: Pick<Cache, 'get' | 'set'> = {
    // The type is the caller's claim about its key.
    get: async <T>(key: string) => {
      const entry = live(key)
      return entry && (JSON.parse(entry.text) as T)
    },
    set: async (key, value, setOptions) => {
      const text = encodeCacheValue(key, value, setOptions)
      entries.set(key, { text, expiresAt: clock.now() + setOptions.ttlMs })
    },
  }
  return {
    ...access,
    capabilities: { shared: false, survivesRestart: false },
    delete: async (key) => live(key) !== undefined && entries.delete(key),
    exists: async (key) => live(key) !== undefined,
    getOrSet: createGetOrSet(access),
  }
}
