import { type Clock, delay } from '../clock.ts'
import type { SecretChange, SecretWatch } from '../secrets.ts'

export interface PollOptions {
  readonly name: string
  readonly listener: (change: SecretChange) => void
  readonly pollMs: number
  readonly clock: Clock
  readonly read: () => Promise<string | undefined>
}

/** Looks again and again and tells what differs. A look that fails is made up for by the next one. */
export async function watchByPolling(options: PollOptions): Promise<SecretWatch> {
  const { name, listener, pollMs, clock, read } = options
  const stop = new AbortController()
  let last = await read()
  listener({ name, value: last })
  const loop = (async () => {
    while (await delay(clock, pollMs, stop.signal)) {
      const value = await read().catch(() => last)
      if (value === last || stop.signal.aborted) continue
      last = value
      listener({ name, value })
    }
  })()
  return {
    stop: async () => {
      stop.abort()
      await loop
    },
  }
}
