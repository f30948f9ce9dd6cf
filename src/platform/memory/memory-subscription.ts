import type { Clock } from '../clock.ts'
import { deliverEvent } from '../deliver-event.ts'
import type { EventEnvelope } from '../event-envelope.ts'
import type { DeadLetter, EventHandler, Subscription } from '../pub-sub.ts'
import { backoffMs, describeError, type SubscriptionSettings } from '../subscription-settings.ts'

interface Waiting {
  readonly event: EventEnvelope
  attempt: number
  readyAt: number
  inHand: boolean
}

interface Consumer {
  readonly handler: EventHandler
  readonly settings: SubscriptionSettings
  readonly abort: AbortController
  readonly running: Set<Promise<void>>
}

/** What waits under one durable subscription, oldest first, and who works on it. */
export class MemorySubscription {
  readonly deadLetters: DeadLetter[] = []
  readonly #clock: Clock
  readonly #waiting: Waiting[] = []
  readonly #consumers = new Set<Consumer>()
  #cancelTimer = () => {}

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(event: EventEnvelope): void {
    this.#waiting.push({ event, attempt: 0, readyAt: this.#clock.now(), inHand: false })
    this.#pump()
  }

  redrive(eventIds: readonly string[] | undefined): number {
    const chosen = this.deadLetters.filter((letter) => !eventIds || eventIds.includes(letter.event.id))
    for (const letter of chosen) {
      this.deadLetters.splice(this.deadLetters.indexOf(letter), 1)
      this.add(letter.event)
    }
    return chosen.length
  }

  consume(handler: EventHandler, settings: SubscriptionSettings): Subscription {
    const consumer: Consumer = { handler, settings, abort: new AbortController(), running: new Set() }
    this.#consumers.add(consumer)
    this.#pump()
    return {
      stop: async () => {
        this.#consumers.delete(consumer)
        consumer.abort.abort()
        await Promise.all(consumer.running)
      },
    }
  }

  #pump(): void {
    this.#cancelTimer()
    for (const consumer of this.#consumers) {
      while (consumer.running.size < consumer.settings.concurrency) {
        const next = this.#takeNext()
        if (!next) break
        const run: Promise<void> = this.#deliver(consumer, next).finally(() => {
          consumer.running.delete(run)
          this.#pump()
        })
        consumer.running.add(run)
      }
    }
    // What is due now and was not taken waits for a handler or a predecessor, whose end calls this again.
    const soonest = Math.min(...this.#waiting.map((entry) => entry.readyAt).filter((at) => at > this.#clock.now()))
    if (this.#consumers.size > 0 && soonest < Infinity) {
      this.#cancelTimer = this.#clock.setTimer(soonest - this.#clock.now(), () => this.#pump())
    }
  }

  /** The oldest event that is due and has no older one with its key before it. */
  #takeNext(): Waiting | undefined {
    const held = new Set<string>()
    for (const entry of this.#waiting) {
      const key = entry.event.partitionkey
      const free = key === undefined || !held.has(key)
      if (free && !entry.inHand && entry.readyAt <= this.#clock.now()) {
        entry.inHand = true
        entry.attempt++
        return entry
      }
      if (key !== undefined) held.add(key)
    }
    return undefined
  }

  async #deliver(consumer: Consumer, entry: Waiting): Promise<void> {
    const { settings, abort, handler } = consumer
    const terms = { attempt: entry.attempt, timeoutMs: settings.timeoutMs, signal: abort.signal, clock: this.#clock }
    // A copy, as every redelivery over a wire would be: a handler may change what it gets.
    const outcome = await deliverEvent((delivery) => handler(structuredClone(entry.event), delivery), terms)
    entry.inHand = false
    if (outcome.ok) {
      this.#remove(entry)
    } else if (entry.attempt >= settings.maxAttempts) {
      this.#remove(entry)
      this.deadLetters.push({ event: entry.event, attempts: entry.attempt, error: describeError(outcome.error) })
    } else {
      entry.readyAt = this.#clock.now() + backoffMs(entry.attempt, settings)
    }
  }

  #remove(entry: Waiting): void {
    this.#waiting.splice(this.#waiting.indexOf(entry), 1)
  }
}
