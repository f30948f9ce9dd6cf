/** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as it aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const abort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}

/** Milliseconds until the next try after `failures` failures in a row (1, 2, …). */
export type Backoff = (failures: number) => number

/** 0.5 s, 1 s, 2 s … 15 s, each shortened by up to half at random: clients of a restarted server do not return as one. */
export function createBackoff(random: () => number = Math.random): Backoff {
  return (failures) => Math.min(15_000, 500 * 2 ** (failures - 1)) * (1 - random() / 2)
}
