import { createEnvelope, type EventEnvelope, parseEnvelope, withTrace } from '../../event-envelope.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import { NotSupportedError, ServiceNotRunningError } from '../../platform-error.ts'
import type { PubSub, SubscriptionRef } from '../../pub-sub.ts'
import { requireSubscription, requireTopic, subscriptionSettings } from '../../subscription-settings.ts'
import type { Tracer } from '../../tracer.ts'
import { type DeadLetterMessage, listDeadLetters } from './dead-letters.ts'
import { connectNats, type NatsConnection, type NatsOptions } from './nats-connection.ts'
import { NatsSubscription } from './nats-subscription.ts'
import {
  choosePartition,
  consumersOf,
  ensureTopicStreams,
  type TopicStream,
  undefinedWhenMissing,
} from './topic-streams.ts'

export interface NatsPubSubOptions extends NatsOptions {
  readonly tracer?: Pick<Tracer, 'currentTraceparent'>
  /** Ways along which a topic's events travel side by side; each is strictly in order. @default 8 */
  readonly partitions?: number
  /** Copies of each event in a cluster. @default 1 */
  readonly replicas?: number
  /** Milliseconds in which a second publish with the same idempotency key is dropped. The server remembers each one. @default 120_000 */
  readonly deduplicationWindowMs?: number
}

/** Events in JetStream, on disk. In order per key: a failing event holds back its partition until it is settled. */
export function createNatsPubSub(options: NatsPubSubOptions): PubSub & Lifecycle {
  const streamSettings = {
    partitions: options.partitions ?? 8,
    replicas: options.replicas ?? 1,
    deduplicationWindowMs: options.deduplicationWindowMs ?? 120_000,
  }
  const layouts = new Map<string, Promise<TopicStream>>()
  const subscriptions = new Set<NatsSubscription>()
  let connection: NatsConnection | undefined
  let stopped: Promise<void> | undefined

  const nats = (): NatsConnection => {
    if (!connection || stopped) throw new ServiceNotRunningError('The event service is not running: call start() first')
    return connection
  }
  const layoutOf = (topic: string): Promise<TopicStream> => {
    requireTopic(topic)
    const known = layouts.get(topic)
    if (known) return known
    const layout = ensureTopicStreams(nats(), topic, streamSettings)
    layouts.set(topic, layout)
    layout.catch(() => layouts.delete(topic))
    return layout
  }
  const send = async (subject: string, event: EventEnvelope, msgID: string): Promise<void> => {
    await nats().call(() => nats().client.publish(subject, JSON.stringify(event), { msgID }))
  }

  return {
    capabilities: { ordering: 'key', transactionalPublish: false },
    publish: async (topic, newEvent, { tx } = {}) => {
      if (tx) throw new NotSupportedError('NATS cannot publish in a database transaction: use the pg-boss adapter')
      const event = createEnvelope(withTrace(newEvent, options.tracer), Date.now)
      const layout = await layoutOf(topic)
      await send(choosePartition(layout, event.partitionkey ?? event.id), event, event.idempotencykey)
      return event
    },
    subscribe: async (ref, handler, subscribeOptions) => {
      requireSubscription(ref)
      const settings = subscriptionSettings(subscribeOptions)
      const layout = await layoutOf(ref.topic)
      const { logger } = options
      const subscription = await NatsSubscription.start({ nats: nats(), layout, ref, handler, settings, logger })
      subscriptions.add(subscription)
      return {
        stop: async () => {
          await subscription.stop()
          subscriptions.delete(subscription)
        },
      }
    },
    unsubscribe: async (ref) => {
      requireSubscription(ref)
      const layout = await layoutOf(ref.topic)
      const { manager, call } = nats()
      for (const { name } of consumersOf(layout, ref.name)) {
        await call(() => manager.consumers.delete(layout.stream, name)).catch(undefinedWhenMissing)
      }
      await call(() => manager.streams.purge(layout.deadStream, { filter: layout.dead(ref.name) }))
    },
    deadLetters: async (ref, limit = 100) => {
      const letters = await readDeadLetters(nats(), await layoutOf(ref.topic), ref, limit)
      return letters.map(({ event, attempts, error }) => ({ event, attempts, error }))
    },
    redrive: async (ref, eventIds) => {
      const layout = await layoutOf(ref.topic)
      const letters = await readDeadLetters(nats(), layout, ref, Number.MAX_SAFE_INTEGER)
      const chosen = letters.filter(({ event }) => !eventIds || eventIds.includes(event.id))
      for (const { event, sequence } of chosen) {
        // The sequence makes a redrive that was cut short and is done again drop what it had sent.
        await send(layout.again(ref.name), event, `again:${ref.name}:${sequence}`)
        await nats().call(() => nats().manager.streams.deleteMessage(layout.deadStream, sequence))
      }
      return chosen.length
    },
    start: async () => {
      connection ??= await connectNats(options)
    },
    stop: () =>
      (stopped ??= (async () => {
        await Promise.all([...subscriptions].map((subscription) => subscription.stop()))
        await connection?.close()
      })()),
  }
}

async function readDeadLetters(
  nats: NatsConnection,
  layout: TopicStream,
  ref: SubscriptionRef,
  limit: number,
): Promise<DeadLetterMessage[]> {
  requireSubscription(ref)
  const letters = await listDeadLetters(nats, { stream: layout.deadStream, subject: layout.dead(ref.name), limit })
  return letters.map((letter) => ({ ...letter, event: parseEnvelope(JSON.stringify(letter.event)) }))
}
