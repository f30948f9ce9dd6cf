import { randomUUID } from 'node:crypto'
import { delay, systemClock } from '../../clock.ts'
import { deliverEvent } from '../../deliver-event.ts'
import { tryParseEnvelope } from '../../event-envelope.ts'
import type { Logger } from '../../logger.ts'
import { ServiceUnavailableError } from '../../platform-error.ts'
import type { EventHandler, SubscriptionRef } from '../../pub-sub.ts'
import { describeError, type SubscriptionSettings } from '../../subscription-settings.ts'
import type { RedisConnection, RedisScript } from './redis-connection.ts'
import { ackScript, claimScript, deadLetterScript, extendScript, failScript } from './redis-scripts.ts'
import { fieldMap, streamEntries, toList } from './stream-entries.ts'

export interface RedisSubscriptionOptions {
  readonly redis: RedisConnection
  /** A connection of its own for reads that block. Closed by `stop`. */
  readonly reader: RedisConnection
  readonly ref: SubscriptionRef
  readonly stream: string
  readonly dead: string
  readonly handler: EventHandler
  readonly settings: SubscriptionSettings
  readonly logger: Logger
  /** Makes the stream and its group again after the server lost them. */
  readonly ensure: () => Promise<void>
}

interface Entry {
  readonly id: string
  readonly attempt: number
  readonly event: string
}

/** Milliseconds that a read waits for new events. Stopping and due redeliveries wait this long at most. */
const blockMs = 200
/** Milliseconds between attempts while the server is away. */
const retryMs = 200

/** One consumer of a subscription's group. */
export class RedisSubscription {
  readonly #options: RedisSubscriptionOptions
  readonly #consumer = randomUUID()
  readonly #stopping = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #loop: Promise<void>
  #stopped: Promise<void> | undefined

  constructor(options: RedisSubscriptionOptions) {
    this.#options = options
    this.#loop = this.#consume()
  }

  stop(): Promise<void> {
    this.#stopping.abort()
    return (this.#stopped ??= this.#end())
  }

  async #end(): Promise<void> {
    await this.#loop
    await Promise.all(this.#running)
    const { redis, reader, stream, ref } = this.#options
    // An empty consumer would stay in the group for ever; one that still holds events must stay, or they would be lost.
    const held = await redis.send('XPENDING', stream, ref.name, '-', '+', 1, this.#consumer).catch(() => undefined)
    if (held !== undefined && toList(held).length === 0) {
      await redis.send('XGROUP', 'DELCONSUMER', stream, ref.name, this.#consumer).catch(() => undefined)
    }
    await reader.close()
  }

  async #consume(): Promise<void> {
    const { settings, logger, ref, ensure } = this.#options
    while (!this.#stopping.signal.aborted) {
      const free = settings.concurrency - this.#running.size
      if (free <= 0) {
        await Promise.race(this.#running)
        continue
      }
      try {
        const due = await this.#claim(free)
        due.forEach((entry) => this.#begin(entry))
        if (due.length < free) (await this.#read(free - due.length)).forEach((entry) => this.#begin(entry))
      } catch (error) {
        logger.warn('Events cannot be read; trying again', { ...ref, error })
        await delay(systemClock, retryMs, this.#stopping.signal)
        if (isGroupMissing(error)) await ensure().catch(() => undefined)
      }
    }
  }

  async #claim(most: number): Promise<Entry[]> {
    const { redis, stream, ref, settings } = this.#options
    const { backoffMinMs, backoffMaxMs, ackTimeoutMs } = settings
    const values = [ref.name, this.#consumer, most, backoffMinMs, backoffMaxMs, ackTimeoutMs]
    const reply = await redis.run(claimScript, [stream], ...values)
    return toList(reply).map((item): Entry => {
      const [id, attempt, fields] = toList(item)
      return {
        id: String(id),
        attempt: Number(attempt),
        event: fieldMap(toList(fields)).get('event') ?? '',
      }
    })
  }

  async #read(most: number): Promise<Entry[]> {
    const { reader, stream, ref } = this.#options
    const command = [
      'XREADGROUP',
      'GROUP',
      ref.name,
      this.#consumer,
      'COUNT',
      most,
      'BLOCK',
      blockMs,
      'STREAMS',
      stream,
      '>',
    ]
    const reply = await reader.send(...command)
    const entries = streamEntries(toList(toList(reply)[0])[1])
    return entries.map(({ id, fields }) => ({ id, attempt: 1, event: fields.get('event') ?? '' }))
  }

  #begin(entry: Entry): void {
    const run: Promise<void> = this.#handle(entry).finally(() => this.#running.delete(run))
    this.#running.add(run)
  }

  async #handle(entry: Entry): Promise<void> {
    const { handler, settings, logger, ref, dead } = this.#options
    const event = tryParseEnvelope(entry.event)
    if (!event) {
      logger.error('An entry that is no CloudEvent was dropped: somebody else writes here', { ...ref })
      return this.#settle(entry, ackScript)
    }
    const lost = new AbortController()
    const done = new AbortController()
    const extending = this.#extend(entry, lost, done.signal)
    const outcome =
      entry.attempt > settings.maxAttempts
        ? { ok: false as const, error: new Error('Its process died in every delivery') }
        : await deliverEvent((delivery) => handler(event, delivery), {
            attempt: entry.attempt,
            timeoutMs: settings.timeoutMs,
            signal: AbortSignal.any([lost.signal, this.#stopping.signal]),
            clock: systemClock,
          })
    if (outcome.ok) {
      await this.#settle(entry, ackScript)
    } else {
      const { error } = outcome
      const last = entry.attempt >= settings.maxAttempts
      // A delivery that only found out that its predecessors died is none.
      const attempt = Math.min(entry.attempt, settings.maxAttempts)
      logger.warn(
        last ? 'An event became a dead letter' : 'An event could not be handled and will be delivered again',
        {
          ...ref,
          attempt,
          error,
        },
      )
      if (last) await this.#settle(entry, deadLetterScript, [dead], entry.event, attempt, describeError(error))
      else await this.#settle(entry, failScript)
    }
    done.abort()
    await extending
  }

  /** Tries until the server has it: an event that was handled and not settled would be handled again. */
  async #settle(
    entry: Entry,
    script: RedisScript,
    moreKeys: string[] = [],
    ...values: (string | number)[]
  ): Promise<void> {
    const { redis, stream, ref, settings, logger } = this.#options
    const giveUpAt = systemClock.now() + settings.ackTimeoutMs
    for (;;) {
      try {
        await redis.run(script, [stream, ...moreKeys], ref.name, this.#consumer, entry.id, ...values)
        return
      } catch (error) {
        const hopeless = !(error instanceof ServiceUnavailableError) || systemClock.now() > giveUpAt
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
  }

  /** Keeps the delivery ours while the handler runs, however long that takes. */
  async #extend(entry: Entry, lost: AbortController, done: AbortSignal): Promise<void> {
    const { redis, stream, ref, settings } = this.#options
    while (await delay(systemClock, settings.ackTimeoutMs / 3, done)) {
      const mine = await redis.run(extendScript, [stream], ref.name, this.#consumer, entry.id).catch(() => undefined)
      if (mine === 0) lost.abort(new Error('Somebody else has this event now'))
    }
  }
}

function isGroupMissing(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOGROUP')
}
