/** Where time comes from. Everything here that waits or expires asks it, so that a test can own time. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Runs `callback` once after `delayMs` milliseconds. Returns how to cancel it; cancelling twice does nothing. */
  setTimer(delayMs: number, callback: () => void): () => void
}

/** The machine's clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** A clock that moves only when told to. */
export interface ManualClock extends Clock {
  /** Moves time forward, running what falls due in order of its time, and lets promises settle between. */
  advance(durationMs: number): Promise<void>
}

/** A clock for tests. @param startAt milliseconds since 1970, 2026-01-01 by default */
export function createManualClock(startAt = Date.UTC(2026, 0, 1)): ManualClock {
  let now = startAt
  const timers = new Set<{ readonly at: number; readonly callback: () => void }>()
  return {
    now: () => now,
    setTimer(delayMs, callback) {
      const timer = { at: now + Math.max(0, delayMs), callback }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    async advance(durationMs) {
      const end = now + durationMs
      await settle()
      for (;;) {
        const due = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0]
        if (!due) break
        timers.delete(due)
        now = Math.max(now, due.at)
        due.callback()
        await settle()
      }
      now = end
    },
  }
}

// A turn of the event loop: every promise that can settle without time passing has settled after it.
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * Waits `delayMs` milliseconds on `clock`.
 * Resolves `true` when the time is over and `false` when `signal` aborted first; it never rejects.
 */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve(false)
    const onAbort = () => {
      cancel()
      resolve(false)
    }
    const cancel = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve(true)
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
