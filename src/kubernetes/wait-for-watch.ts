import { type Clock, systemClock } from './clock.ts'

/** What `onEvent` makes of an event. */
export type WatchDecision<T> =
  | { readonly decision: 'continue' }
  | { readonly decision: 'resolve'; readonly value: T }
  | { readonly decision: 'reject'; readonly error: Error }

export const continueWaiting: WatchDecision<never> = { decision: 'continue' }
export const resolveWith = <T>(value: T): WatchDecision<T> => ({ decision: 'resolve', value })
export const rejectWith = (error: Error): WatchDecision<never> => ({ decision: 'reject', error })

/** Whatever ends a subscription. Idempotence is not required: it is called once. */
export interface WatchSubscription {
  unsubscribe(): void
}

export interface WatchWaitOptions<T, Event> {
  /**
   * Starts the events: a `WatchHub` on a server, the live feed in a browser. Must tell the current state first, as an
   * event, or an object that is ready already keeps us waiting. May call the listener before it returns.
   */
  readonly subscribe: (listener: (event: Event) => void) => WatchSubscription | Promise<WatchSubscription>
  /** Decides after each event. An exception rejects the wait. */
  readonly onEvent: (event: Event) => WatchDecision<T>
  /** Milliseconds until the wait is rejected. @default 300_000 */
  readonly timeoutMs?: number | undefined
  /** Rejects the wait with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Makes the error of a timeout, from the last event; may look around first, for 5 s at most. @default `WatchTimeoutError` */
  readonly onTimeout?: ((lastEvent: Event | undefined) => Error | Promise<Error>) | undefined
  readonly clock?: Clock | undefined
}

/** The deadline passed without a decision. */
export class WatchTimeoutError extends Error {
  readonly code = 'timed_out'
}

const defaultTimeoutMs = 300_000
const lookAroundMs = 5_000

/**
 * Waits until `onEvent` decides. Knows nothing of Kubernetes: it subscribes, asks, and ends.
 *
 * Guarantee: it settles exactly once, by a decision, the signal, the deadline or a failed `subscribe`, and has
 * unsubscribed by then, also from a subscription that is still being made. Price: a wait held in memory is lost with
 * the process; what must survive is a durable wait.
 */
export function waitForWatch<T, Event>(options: WatchWaitOptions<T, Event>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const wait = new WatchWait(options, resolve, reject)
  wait.start()
  return promise
}

class WatchWait<T, Event> {
  readonly #options: WatchWaitOptions<T, Event>
  readonly #resolve: (value: T) => void
  readonly #reject: (reason: unknown) => void
  #settled = false
  #lastEvent: Event | undefined
  #subscription: WatchSubscription | undefined
  #cancelTimer: () => void = () => {}

  constructor(options: WatchWaitOptions<T, Event>, resolve: (value: T) => void, reject: (reason: unknown) => void) {
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
  }

  start(): void {
    const { signal, timeoutMs = defaultTimeoutMs, clock = systemClock } = this.#options
    if (signal?.aborted) {
      this.#fail(signal.reason)
      return
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    this.#cancelTimer = clock.after(timeoutMs, () => this.#timeOut(timeoutMs))
    try {
      const subscribed = this.#options.subscribe(this.#onEvent)
      if ('then' in subscribed)
        subscribed.then(
          (late) => this.#adopt(late),
          (error: unknown) => this.#fail(error),
        )
      else this.#adopt(subscribed)
    } catch (error) {
      this.#fail(error)
    }
  }

  // A subscription may arrive after the decision: its own first event, or an abort while it was being made.
  #adopt(subscription: WatchSubscription): void {
    this.#subscription = subscription
    if (this.#settled) this.#unsubscribe()
  }

  readonly #onEvent = (event: Event): void => {
    if (this.#settled) return
    this.#lastEvent = event
    let made: WatchDecision<T>
    try {
      made = this.#options.onEvent(event)
    } catch (error) {
      this.#fail(error)
      return
    }
    switch (made.decision) {
      case 'continue':
        return
      case 'resolve':
        if (this.#settle()) this.#resolve(made.value)
        return
      case 'reject':
        this.#fail(made.error)
    }
  }

  readonly #onAbort = (): void => this.#fail(this.#options.signal?.reason)

  #timeOut(timeoutMs: number): void {
    const { onTimeout, clock = systemClock } = this.#options
    const plain = new WatchTimeoutError(`Nothing decided the wait within ${timeoutMs} ms.`)
    if (!onTimeout) {
      this.#fail(plain)
      return
    }
    // Settled from here on; who looks around for a better message cannot hold the wait for long.
    if (!this.#settle()) return
    const cancel = clock.after(lookAroundMs, () => this.#reject(plain))
    Promise.resolve(this.#lastEvent)
      .then(onTimeout)
      .then(this.#reject, () => this.#reject(plain))
      .finally(cancel)
      .catch(() => {})
  }

  #fail(reason: unknown): void {
    if (this.#settle()) this.#reject(reason)
  }

  #settle(): boolean {
    if (this.#settled) return false
    this.#settled = true
    this.#cancelTimer()
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#unsubscribe()
    return true
  }

  #unsubscribe(): void {
    const subscription = this.#subscription
    this.#subscription = undefined
    try {
      subscription?.unsubscribe()
    } catch {
      // The wait is over either way, and its outcome is not the subscription's.
    }
  }
}
