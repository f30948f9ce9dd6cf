/** Time, injected so that tests do not sleep. Milliseconds everywhere. */
export interface Clock {
  now(): number
  /** Runs `callback` once after `ms`. Returns its cancellation, which may be called at any time. */
  after(ms: number, callback: () => void): () => void
}

// What setTimeout can count to; more makes it fire at once.
const longestTimerMs = 2_147_483_647

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, callback) {
    const due = Date.now() + ms
    let timer: ReturnType<typeof setTimeout>
    const arm = (): void => {
      const leftMs = due - Date.now()
      timer = leftMs > longestTimerMs ? setTimeout(arm, longestTimerMs) : setTimeout(callback, Math.max(0, leftMs))
    }
    arm()
    return () => clearTimeout(timer)
  },
}
