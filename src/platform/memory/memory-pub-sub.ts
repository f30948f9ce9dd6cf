import { type Clock, systemClock } from '../clock.ts'
import { createEnvelope, type EventEnvelope, parseEnvelope, withTrace } from '../event-envelope.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { ServiceNotRunningError } from '../platform-error.ts'
import type { PubSub, Subscription, SubscriptionRef } from '../pub-sub.ts'
import { requireSubscription, requireTopic, subscriptionSettings } from '../subscription-settings.ts'
import type { Tracer } from '../tracer.ts'
import { MemorySubscription } from './memory-subscription.ts'

export interface MemoryPubSubOptions {
  readonly clock?: Clock
  readonly tracer?: Pick<Tracer, 'currentTraceparent'>
  /** Milliseconds in which a second publish with the same idempotency key is dropped. @default 86_400_000 */
  readonly deduplicationWindowMs?: number
}

/** Keeps order per key, redelivers with backoff on its clock, deduplicates, and obeys the caller's transaction. */
export function createMemoryPubSub(options: MemoryPubSubOptions = {}): PubSub & Lifecycle {
  const clock = options.clock ?? systemClock
  const windowMs = options.deduplicationWindowMs ?? 86_400_000
  const subscriptions = new Map<string, MemorySubscription>()
  const published = new Map<string, number>()
  const consumers = new Set<Subscription>()
  let stopped = false

  const nameOf = (ref: SubscriptionRef) => {
    requireSubscription(ref)
    return `${ref.topic}\n${ref.name}`
  }
  const isDuplicate = (topic: string, event: EventEnvelope): boolean => {
    for (const [key, at] of published) {
      if (at + windowMs > clock.now()) break
      published.delete(key)
    }
    const key = `${topic}\n${event.idempotencykey}`
    if (published.has(key)) return true
    published.set(key, clock.now())
    return false
  }
  const store = (topic: string, event: EventEnvelope): void => {
    if (isDuplicate(topic, event)) return
    for (const [name, subscription] of subscriptions) {
      if (name.startsWith(`${topic}\n`)) subscription.add(parseEnvelope(JSON.stringify(event)))
    }
  }

  return {
    capabilities: { ordering: 'key', transactionalPublish: true },
    publish: async (topic, newEvent, { tx } = {}) => {
      if (stopped) throw new ServiceNotRunningError('The publisher was stopped')
      requireTopic(topic)
      const event = createEnvelope(withTrace(newEvent, options.tracer), () => clock.now())
      if (tx) tx.afterCommit(() => store(topic, event))
      else store(topic, event)
      return event
    },
    subscribe: async (ref, handler, subscribeOptions) => {
      if (stopped) throw new ServiceNotRunningError('The subscriber was stopped')
      const settings = subscriptionSettings(subscribeOptions)
      const name = nameOf(ref)
      const subscription = subscriptions.get(name) ?? new MemorySubscription(clock)
      subscriptions.set(name, subscription)
      const consumer = subscription.consume(handler, settings)
      consumers.add(consumer)
      return consumer
    },
    unsubscribe: async (ref) => void subscriptions.delete(nameOf(ref)),
    deadLetters: async (ref, limit = 100) => subscriptions.get(nameOf(ref))?.deadLetters.slice(0, limit) ?? [],
    redrive: async (ref, eventIds) => subscriptions.get(nameOf(ref))?.redrive(eventIds) ?? 0,
    start: async () => {},
    stop: async () => {
      stopped = true
      await Promise.all([...consumers].map((consumer) => consumer.stop()))
    },
  }
}
