import type { Clock } from './clock.ts'

export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number
}

const firstMs = 800
const longestMs = 30_000
const resetAfterMs = 120_000

/**
 * Delays as in client-go's reflector: 0.8 s, doubled each time up to 30 s, each stretched by up to its own length (so
 * that clients who lost one server do not come back together), from the start again after 2 min without a failure.
 */
export function createBackoff(clock: Clock, random: () => number): Backoff {
  let delayMs = firstMs
  let lastAt = Number.NEGATIVE_INFINITY
  return {
    next() {
      if (clock.now() - lastAt > resetAfterMs) delayMs = firstMs
      lastAt = clock.now()
      const waitMs = delayMs * (1 + random())
      delayMs = Math.min(delayMs * 2, longestMs)
      return waitMs
    },
  }
}
