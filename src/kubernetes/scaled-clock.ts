import type { Clock } from './clock.ts'

/** A clock that runs `factor` times as fast as the real one: against a real server, half a minute passes in a moment. */
export function createScaledClock(factor: number): Clock {
  const startedAt = performance.now()
  const epoch = Date.now()
  return {
    now: () => epoch + (performance.now() - startedAt) * factor,
    after(ms, callback) {
      const timer = setTimeout(callback, ms / factor)
      return () => clearTimeout(timer)
    },
  }
}
