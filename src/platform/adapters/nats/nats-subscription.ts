import type { Consumer, JsMsg } from '@nats-io/jetstream'
import { delay, systemClock } from '../../clock.ts'
import { type DeliveryOutcome, deliverEvent } from '../../deliver-event.ts'
import { type EventEnvelope, tryParseEnvelope } from '../../event-envelope.ts'
import type { Logger } from '../../logger.ts'
import type { DeadLetter, EventHandler, SubscriptionRef } from '../../pub-sub.ts'
import { backoffMs, describeError, type SubscriptionSettings } from '../../subscription-settings.ts'
import type { NatsConnection } from './nats-connection.ts'
import { consumersOf, type TopicStream } from './topic-streams.ts'

export interface NatsSubscriptionOptions {
  readonly nats: NatsConnection
  readonly layout: TopicStream
  readonly ref: SubscriptionRef
  readonly handler: EventHandler
  readonly settings: SubscriptionSettings
  readonly logger: Logger
}

interface Received {
  readonly message: JsMsg
  readonly event: EventEnvelope
  readonly attempt: number
}

/** Milliseconds that a request for the next event stays open: the least that the server takes. Stopping waits this long at most. */
const pullMs = 1_000
/** Milliseconds between attempts while the server is away. */
const retryMs = 200
const nanosPerMs = 1_000_000

/** One process's part in a subscription: a loop per partition, and a limit on how many handlers run. */
export class NatsSubscription {
  readonly #options: NatsSubscriptionOptions
  readonly #stopping = new AbortController()
  readonly #waiting: (() => void)[] = []
  #free: number
  #loops: Promise<unknown> = Promise.resolve()

  private constructor(options: NatsSubscriptionOptions) {
    this.#options = options
    this.#free = options.settings.concurrency
  }

  static async start(options: NatsSubscriptionOptions): Promise<NatsSubscription> {
    const subscription = new NatsSubscription(options)
    const { nats, layout, ref, settings } = options
    const loops: Promise<void>[] = []
    for (const { name, subject } of consumersOf(layout, ref.name)) {
      await nats.call(() =>
        nats.manager.consumers.add(layout.stream, {
          durable_name: name,
          filter_subject: subject,
          ack_policy: 'explicit',
          deliver_policy: 'new',
          ack_wait: settings.ackTimeoutMs * nanosPerMs,
          // One at a time: the next of this partition comes when this one is settled, and so in order.
          max_ack_pending: 1,
          // Dead letters are ours to make, or the server would drop the event silently.
          max_deliver: -1,
        }),
      )
      const consumer = await nats.call(() => nats.client.consumers.get(layout.stream, name))
      loops.push(subscription.#consume(consumer))
    }
    subscription.#loops = Promise.all(loops)
    return subscription
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loops
  }

  async #consume(consumer: Consumer): Promise<void> {
    const { logger, ref } = this.#options
    while (!this.#stopping.signal.aborted) {
      try {
        const message = await consumer.next({ expires: pullMs })
        if (message) await this.#handle(message)
      } catch (error) {
        if (this.#stopping.signal.aborted) return
        logger.warn('Events cannot be read; trying again', { ...ref, error })
        await delay(systemClock, retryMs, this.#stopping.signal)
      }
    }
  }

  async #handle(message: JsMsg): Promise<void> {
    const { settings, logger, ref } = this.#options
    const event = tryParseEnvelope(message.string())
    if (!event) {
      logger.error('A message that is no CloudEvent was dropped: somebody else publishes here', { ...ref })
      message.term()
      return
    }
    const done = new AbortController()
    const extending = extendWhile(message, settings.ackTimeoutMs / 3, done.signal)
    await this.#takeSlot()
    try {
      const attempt = message.info.deliveryCount
      await this.#settle({ message, event, attempt }, await this.#deliver(event, attempt))
    } finally {
      this.#giveSlot()
      done.abort()
      await extending
    }
  }

  async #deliver(event: EventEnvelope, attempt: number): Promise<DeliveryOutcome> {
    const { handler, settings } = this.#options
    if (attempt > settings.maxAttempts) return { ok: false, error: new Error('Its process died in every delivery') }
    return deliverEvent((delivery) => handler(event, delivery), {
      attempt,
      timeoutMs: settings.timeoutMs,
      signal: this.#stopping.signal,
      clock: systemClock,
    })
  }

  async #settle({ message, event, attempt }: Received, outcome: DeliveryOutcome): Promise<void> {
    const { settings, logger, ref } = this.#options
    if (outcome.ok) return this.#untilAnswered(() => message.ackAck())
    const { error } = outcome
    if (attempt < settings.maxAttempts) {
      logger.warn('An event could not be handled and will be delivered again', { ...ref, attempt, error })
      // Lost on a broken connection, it comes again after the silence limit instead of the backoff.
      message.nak(backoffMs(attempt, settings))
      return
    }
    logger.warn('An event became a dead letter', { ...ref, attempt, error })
    await this.#untilAnswered(async () => {
      // A delivery that only found out that its predecessors died is none.
      const attempts = Math.min(attempt, settings.maxAttempts)
      await this.#storeDeadLetter(message.seq, { event, attempts, error: describeError(error) })
      return message.ackAck()
    })
  }

  async #storeDeadLetter(sequence: number, letter: DeadLetter): Promise<void> {
    const { nats, layout, ref } = this.#options
    // Stored twice only when the acknowledgement fails for longer than the server remembers.
    const msgID = `${layout.stream}:${ref.name}:${sequence}`
    await nats.client.publish(layout.dead(ref.name), JSON.stringify(letter), { msgID })
  }

  /** Tries until the server has it: an event that was handled and not settled would be handled again. */
  async #untilAnswered(work: () => Promise<boolean>): Promise<void> {
    const { settings, logger, ref } = this.#options
    const giveUpAt = systemClock.now() + settings.ackTimeoutMs
    for (;;) {
      const error: unknown = await work().then(
        (answered) => (answered ? undefined : new Error('no answer')),
        (failure: unknown) => failure,
      )
      if (error === undefined) return
      const hopeless = systemClock.now() > giveUpAt
      logger.warn(
        hopeless ? 'An event could not be settled and will come again' : 'An event could not be settled yet',
        {
          ...ref,
          error,
        },
      )
      if (hopeless) return
      await delay(systemClock, retryMs)
    }
  }

  async #takeSlot(): Promise<void> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #giveSlot(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#free++
  }
}

async function extendWhile(message: JsMsg, everyMs: number, done: AbortSignal): Promise<void> {
  while (await delay(systemClock, everyMs, done)) message.working()
}
