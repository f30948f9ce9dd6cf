export interface CacheSetOptions {
  /** Milliseconds until the entry is gone. The adapter may be asked for a default; without one this is required. */
  readonly ttlMs: number
}

export interface CacheCapabilities {
  /** Other processes see what is set here. */
  readonly shared: boolean
  /** Entries outlive a restart of this process. */
  readonly survivesRestart: boolean
}

/**
 * Copies of what can be computed again. An entry may vanish at any time, before its time too; it is never served after it.
 * Values are what JSON can hold (`null` included, `undefined` not); a caller gets a copy and may change it.
 * Keys are 1 to 512 characters.
 */
export interface Cache {
  readonly capabilities: CacheCapabilities
  /** The value, or `undefined` when there is none. @throws ServiceUnavailableError */
  get<T>(key: string): Promise<T | undefined>
  /** Stores a value; the time starts anew. @throws ServiceUnavailableError, InvalidArgumentError */
  set(key: string, value: unknown, options: CacheSetOptions): Promise<void>
  /** Removes an entry. `true` when there was one. @throws ServiceUnavailableError */
  delete(key: string): Promise<boolean>
  /** @throws ServiceUnavailableError */
  exists(key: string): Promise<boolean>
  /**
   * The value, or what `load` returns, which is then stored. Callers of one process that ask at the same time share one
   * `load`. What `load` throws reaches all of them and is not stored. When the cache cannot be reached it loads: a
   * cache that is down makes things slow, never wrong.
   */
  getOrSet<T>(key: string, load: () => Promise<T>, options: CacheSetOptions): Promise<T>
}
