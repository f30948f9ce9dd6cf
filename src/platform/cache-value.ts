import type { Cache, CacheSetOptions } from './cache.ts'
import { InvalidArgumentError, requireDuration, ServiceUnavailableError } from './platform-error.ts'

const maxKeyLength = 512

export function requireCacheKey(key: string): void {
  if (key.length === 0 || key.length > maxKeyLength) {
    throw new InvalidArgumentError(`A cache key has 1 to ${maxKeyLength} characters, this one has ${key.length}`)
  }
}

/** The text that every cache stores, so that all of them hand out equal copies. */
export function encodeCacheValue(key: string, value: unknown, options: CacheSetOptions): string {
  requireCacheKey(key)
  requireDuration(`ttlMs of cache key "${key}"`, options.ttlMs)
  // JSON.stringify answers undefined for undefined, functions and symbols, which its type does not say.
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) {
    throw new InvalidArgumentError(`The value of cache key "${key}" is ${typeof value}, which JSON cannot hold`)
  }
  return text
}

/** Makes a `getOrSet` for one cache: concurrent callers of one key share one `load`. */
export function createGetOrSet(cache: Pick<Cache, 'get' | 'set'>): Cache['getOrSet'] {
  const flights = new Map<string, Promise<unknown>>()
  return async <T>(key: string, load: () => Promise<T>, options: CacheSetOptions): Promise<T> => {
    requireCacheKey(key)
    requireDuration(`ttlMs of cache key "${key}"`, options.ttlMs)
    let flight = flights.get(key)
    if (!flight) {
      flight = loadThrough(cache, { key, load, options }).finally(() => flights.delete(key))
      flights.set(key, flight)
    }
    // Each caller gets a copy of its own, as from `get`. The type is the caller's claim about its key.
    return structuredClone(await flight) as T
  }
}

interface LoadThrough {
  readonly key: string
  readonly load: () => Promise<unknown>
  readonly options: CacheSetOptions
}

async function loadThrough(cache: Pick<Cache, 'get' | 'set'>, { key, load, options }: LoadThrough): Promise<unknown> {
  const cached = await orUndefinedWhenDown(cache.get(key))
  if (cached !== undefined) return cached
  const text = encodeCacheValue(key, await load(), options)
  const value: unknown = JSON.parse(text)
  await orUndefinedWhenDown(cache.set(key, value, options))
  return value
}

async function orUndefinedWhenDown<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ServiceUnavailableError) return undefined
    throw error
  }
}
