import type { PgBoss } from 'pg-boss'
import type { SubscriptionRef } from '../../pub-sub.ts'
import { requireSubscription, type SubscriptionSettings } from '../../subscription-settings.ts'

/** The engine's smallest heartbeat: a process that died is noticed after this and one round of supervision. */
const minHeartbeatSeconds = 10
/** What waits is kept for as long as anybody may need it: the engine's own 14 days would lose events silently. */
const keepSeconds = 10 * 365 * 24 * 3_600

export function queuesOf(ref: SubscriptionRef): { readonly queue: string; readonly dead: string } {
  requireSubscription(ref)
  const queue = `pubsub/${ref.topic}/${ref.name}`
  return { queue, dead: `${queue}/dead` }
}

/** Makes the queues of a subscription, or brings their settings up to date, and binds them to the topic. */
export async function ensureQueues(boss: PgBoss, ref: SubscriptionRef, settings: SubscriptionSettings): Promise<void> {
  const { queue, dead } = queuesOf(ref)
  const options = {
    deadLetter: dead,
    retryLimit: settings.maxAttempts - 1,
    // Only crashes come back by the engine's own retry; a handler that throws is put back by us, to the millisecond.
    retryDelay: Math.max(1, Math.round(settings.backoffMinMs / 1_000)),
    retryBackoff: true,
    retryDelayMax: Math.max(1, Math.round(settings.backoffMaxMs / 1_000)),
    heartbeatSeconds: Math.max(minHeartbeatSeconds, Math.ceil(settings.ackTimeoutMs / 1_000)),
    // Behind our own timeout, which fails the delivery in an orderly way.
    expireInSeconds: Math.min(24 * 3_600, Math.ceil(settings.timeoutMs / 1_000) + 60),
    retentionSeconds: keepSeconds,
    deleteAfterSeconds: 3_600,
  }
  await boss.createQueue(dead, { retentionSeconds: keepSeconds })
  await boss.createQueue(queue, { ...options, policy: 'key_strict_fifo' })
  await boss.updateQueue(queue, options)
  await boss.subscribe(ref.topic, queue)
}
