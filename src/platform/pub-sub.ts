import type { DbTransaction } from './db.ts'
import type { EventEnvelope, NewEvent } from './event-envelope.ts'

export interface PublishOptions {
  /** Publish if and only if this transaction commits. Needs the capability `transactionalPublish`. */
  readonly tx?: Pick<DbTransaction, 'query' | 'afterCommit'>
}

/** A durable subscription: each one gets every event of its topic once, however many processes share its name. */
export interface SubscriptionRef {
  /** Letters, digits, `.`, `_`, `-`; at most 100. */
  readonly topic: string
  /** Letters, digits, `_`, `-`; at most 60. Keep it over restarts: what is published meanwhile waits under it. */
  readonly name: string
}

export interface SubscribeOptions {
  /** Events in hand at once, in this process. @default 1 */
  readonly concurrency?: number
  /** Deliveries of one event before it becomes a dead letter. A crash during a delivery counts. @default 5 */
  readonly maxAttempts?: number
  /** Milliseconds before the second delivery; doubles with each further one. @default 1_000 */
  readonly backoffMinMs?: number
  /** The longest such wait, in milliseconds. @default 60_000 */
  readonly backoffMaxMs?: number
  /** Milliseconds one delivery may take; then its signal aborts and it counts as failed. @default 300_000 */
  readonly timeoutMs?: number
  /** Milliseconds of silence after which a process is taken for dead and its deliveries go to others. @default 30_000 */
  readonly ackTimeoutMs?: number
}

export interface Delivery {
  /** 1 for the first delivery. */
  readonly attempt: number
  /** Aborts when the subscription stops or the delivery is no longer ours. */
  readonly signal: AbortSignal
}

/** Returning settles the event; throwing has it delivered again. It may see an event twice: see `idempotentConsumer`. */
export type EventHandler = (event: EventEnvelope, delivery: Delivery) => Promise<void>

export interface Subscription {
  /** Takes no more events and resolves when those in hand are settled. The durable subscription stays. */
  stop(): Promise<void>
}

export interface DeadLetter {
  readonly event: EventEnvelope
  readonly attempts: number
  /** What the last delivery threw. */
  readonly error: string
}

export interface PubSubCapabilities {
  /** `key`: events with one key arrive in the order of publishing, and a failing one holds back its successors. */
  readonly ordering: 'key' | 'none'
  /** `publish` can be part of a database transaction. */
  readonly transactionalPublish: boolean
}

/** Events between programs: durable, at least once. An event published before a subscription exists does not reach it. */
export interface PubSub {
  readonly capabilities: PubSubCapabilities
  /** Resolves when the event is stored for every subscription. @throws ServiceUnavailableError, NotSupportedError */
  publish(topic: string, event: NewEvent, options?: PublishOptions): Promise<EventEnvelope>
  /** Makes the subscription if there is none, and handles its events until stopped. */
  subscribe(ref: SubscriptionRef, handler: EventHandler, options?: SubscribeOptions): Promise<Subscription>
  /** Deletes a durable subscription with all that waits under it. Stop its handlers first. */
  unsubscribe(ref: SubscriptionRef): Promise<void>
  /** The oldest dead letters of a subscription. @param limit 100 by default */
  deadLetters(ref: SubscriptionRef, limit?: number): Promise<DeadLetter[]>
  /** Delivers dead letters again, all or those with these event ids. Returns how many. */
  redrive(ref: SubscriptionRef, eventIds?: readonly string[]): Promise<number>
}
