import type { Clock } from './clock.ts'

interface Timer {
  readonly at: number
  readonly callback: () => void
}

/** A clock that stands still until it is told otherwise: hours pass in a test without a wait. */
export class ManualClock implements Clock {
  #now: number
  readonly #timers = new Set<Timer>()

  /** @param startAt milliseconds since the epoch. @default 2026-01-01 */
  constructor(startAt: number = Date.UTC(2026, 0, 1)) {
    this.#now = startAt
  }

  now(): number {
    return this.#now
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** How many timers are set: zero when everything was released. */
  get pending(): number {
    return this.#timers.size
  }

  /** Lets `ms` pass: each timer fires at its time, and what it set in motion comes to rest before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await rest()
    for (let timer = this.#nextUntil(end); timer; timer = this.#nextUntil(end)) {
      this.#timers.delete(timer)
      this.#now = timer.at
      timer.callback()
      await rest()
    }
    this.#now = end
  }

  #nextUntil(end: number): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) if (timer.at <= end && (!next || timer.at < next.at)) next = timer
    return next
  }
}

/** Until every promise that can settle without I/O has settled. */
export function rest(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
