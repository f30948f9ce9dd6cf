import type { Cache } from '../../cache.ts'
import { createGetOrSet, encodeCacheValue, requireCacheKey } from '../../cache-value.ts'
import { type Clock, delay, systemClock } from '../../clock.ts'
import type { Db } from '../../db.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import type { Logger } from '../../logger.ts'
import { createPlatformTables } from '../../platform-schema.sql.ts'
import { deleteEntry, deleteExpired, entryExists, selectEntry, upsertEntry } from './postgres-cache.sql.ts'

export interface PostgresCacheOptions {
  readonly db: Db
  readonly logger?: Logger
  /** Milliseconds between removals of expired entries, which are never served meanwhile. @default 60_000 */
  readonly sweepMs?: number
  /** Times the sweep only; entries expire by the database's clock. */
  readonly clock?: Clock
}

const sweepPortion = 1_000

/** A cache that all processes share, in an unlogged table: a crash of the server empties it. */
export function createPostgresCache(options: PostgresCacheOptions): Cache & Lifecycle {
  const { db, sweepMs = 60_000, clock = systemClock } = options
  const stopping = new AbortController()
  let sweeping: Promise<void> | undefined

  const sweep = async (): Promise<void> => {
    while (await delay(clock, sweepMs, stopping.signal)) {
      try {
        while ((await deleteExpired(db, sweepPortion)) === sweepPortion && !stopping.signal.aborted);
      } catch (error) {
        options.logger?.warn('Expired cache entries could not be removed; trying again later', { error })
      }
    }
  }
  const access: Pick<Cache, 'get' | 'set'> = {
    get: async <T>(key: string) => {
      requireCacheKey(key)
      const text = await selectEntry(db, key)
      // The type is the caller's claim about its key.
      return text === undefined ? undefined : (JSON.parse(text) as T)
    },
    set: async (key, value, { ttlMs }) =>
      upsertEntry(db, { key, text: encodeCacheValue(key, value, { ttlMs }), ttlMs }),
  }
  return {
    ...access,
    capabilities: { shared: true, survivesRestart: true },
    delete: async (key) => {
      requireCacheKey(key)
      return deleteEntry(db, key)
    },
    exists: async (key) => {
      requireCacheKey(key)
      return entryExists(db, key)
    },
    getOrSet: createGetOrSet(access),
    start: async () => {
      await createPlatformTables(db)
      sweeping ??= sweep()
    },
    stop: async () => {
      stopping.abort()
      await sweeping
    },
  }
}
