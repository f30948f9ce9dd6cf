/** Time, injected so that tests do not sleep. Milliseconds everywhere. */
export interface Clock {
  now(): number
  /** Runs `callback` once after `ms`. Returns its cancellation, which may be called at any time. */
  after(ms: number, callback: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  },
}
