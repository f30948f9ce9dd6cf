import { createEnvelope, parseEnvelope, withTrace } from '../../event-envelope.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import { NotSupportedError, ServiceNotRunningError } from '../../platform-error.ts'
import type { DeadLetter, PubSub, SubscriptionRef } from '../../pub-sub.ts'
import { requireSubscription, requireTopic, subscriptionSettings } from '../../subscription-settings.ts'
import type { Tracer } from '../../tracer.ts'
import { connectRedis, type RedisConnection, type RedisOptions } from './redis-connection.ts'
import { publishScript, redriveScript, subscribeScript } from './redis-scripts.ts'
import { RedisSubscription } from './redis-subscription.ts'
import { streamEntries } from './stream-entries.ts'

export interface RedisPubSubOptions extends RedisOptions {
  readonly tracer?: Pick<Tracer, 'currentTraceparent'>
  /** Milliseconds in which a second publish with the same given idempotency key is dropped. @default 86_400_000 */
  readonly deduplicationWindowMs?: number
}

/**
 * Events in Redis streams, one per durable subscription. Lasting as far as the server writes its log to disk
 * (`appendonly yes`). No order: consumers of one subscription work side by side.
 */
export function createRedisPubSub(options: RedisPubSubOptions): PubSub & Lifecycle {
  const { keyPrefix = 'sluice' } = options
  const subscriptions = new Set<RedisSubscription>()
  let connection: RedisConnection | undefined
  let stopped: Promise<void> | undefined

  const redis = (): RedisConnection => {
    if (!connection || stopped) throw new ServiceNotRunningError('The event service is not running: call start() first')
    return connection
  }
  const keysOf = (ref: SubscriptionRef) => {
    requireSubscription(ref)
    const { subscriptions: set, streams } = topicKeys(keyPrefix, ref.topic)
    return { set, stream: `${streams}${ref.name}`, dead: `${streams}${ref.name}:dead` }
  }
  const readDeadLetters = async (ref: SubscriptionRef, limit: number) =>
    streamEntries(await redis().send('XRANGE', keysOf(ref).dead, '-', '+', 'COUNT', limit))

  return {
    capabilities: { ordering: 'none', transactionalPublish: false },
    publish: async (topic, newEvent, { tx } = {}) => {
      requireTopic(topic)
      if (tx) throw new NotSupportedError('Redis cannot publish in a database transaction: use the pg-boss adapter')
      const event = createEnvelope(withTrace(newEvent, options.tracer), Date.now)
      // A generated id cannot come twice; a given one can.
      const mayRepeat = newEvent.id !== undefined || newEvent.idempotencyKey !== undefined
      const windowMs = mayRepeat ? (options.deduplicationWindowMs ?? 86_400_000) : 0
      const { subscriptions: set, published, streams } = topicKeys(keyPrefix, topic)
      const keys = [set, `${published}${event.idempotencykey}`]
      await redis().run(publishScript, keys, JSON.stringify(event), windowMs, streams)
      return event
    },
    subscribe: async (ref, handler, subscribeOptions) => {
      const settings = subscriptionSettings(subscribeOptions)
      const { set, stream, dead } = keysOf(ref)
      const ensure = async () => void (await redis().run(subscribeScript, [set, stream], ref.name, ref.name))
      await ensure()
      const reader = await connectRedis(options)
      const { logger } = options
      const subscription = new RedisSubscription({
        redis: redis(),
        reader,
        ref,
        stream,
        dead,
        handler,
        settings,
        logger,
        ensure,
      })
      subscriptions.add(subscription)
      return {
        stop: async () => {
          await subscription.stop()
          subscriptions.delete(subscription)
        },
      }
    },
    unsubscribe: async (ref) => {
      const { set, stream, dead } = keysOf(ref)
      await redis().send('SREM', set, ref.name)
      await redis().send('DEL', stream, dead)
    },
    deadLetters: async (ref, limit = 100) =>
      (await readDeadLetters(ref, limit)).map(({ fields }): DeadLetter => ({
        event: parseEnvelope(fields.get('event') ?? ''),
        attempts: Number(fields.get('attempts')),
        error: fields.get('error') ?? '',
      })),
    redrive: async (ref, eventIds) => {
      const { stream, dead } = keysOf(ref)
      let count = 0
      for (const { id, fields } of await readDeadLetters(ref, 100_000)) {
        const event = fields.get('event') ?? ''
        if (eventIds && !eventIds.includes(parseEnvelope(event).id)) continue
        if ((await redis().run(redriveScript, [stream, dead], id, event)) === 1) count++
      }
      return count
    },
    start: async () => {
      connection ??= await connectRedis(options)
    },
    stop: () =>
      (stopped ??= (async () => {
        await Promise.all([...subscriptions].map((subscription) => subscription.stop()))
        await connection?.close()
      })()),
  }
}

// The braces make a cluster keep all of one topic's keys on one node, where a script can reach them.
function topicKeys(keyPrefix: string, topic: string) {
  const base = `${keyPrefix}:pubsub:{${topic}}`
  return { subscriptions: `${base}:subscriptions`, published: `${base}:published:`, streams: `${base}:to:` }
}
