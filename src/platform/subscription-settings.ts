import { createHash } from 'node:crypto'
import { InvalidArgumentError, requireDuration } from './platform-error.ts'
import type { SubscribeOptions, SubscriptionRef } from './pub-sub.ts'

export type SubscriptionSettings = Required<SubscribeOptions>

/** Fills in the defaults that `SubscribeOptions` promises. @throws InvalidArgumentError */
export function subscriptionSettings(options: SubscribeOptions = {}): SubscriptionSettings {
  const settings = {
    concurrency: options.concurrency ?? 1,
    maxAttempts: options.maxAttempts ?? 5,
    backoffMinMs: options.backoffMinMs ?? 1_000,
    backoffMaxMs: options.backoffMaxMs ?? 60_000,
    timeoutMs: options.timeoutMs ?? 300_000,
    ackTimeoutMs: options.ackTimeoutMs ?? 30_000,
  }
  for (const name of ['concurrency', 'maxAttempts'] as const) {
    if (!Number.isInteger(settings[name]) || settings[name] < 1) {
      throw new InvalidArgumentError(`${name} is ${settings[name]}: pass a whole number from 1`)
    }
  }
  for (const name of ['backoffMinMs', 'backoffMaxMs', 'timeoutMs', 'ackTimeoutMs'] as const)
    requireDuration(name, settings[name])
  return settings
}

/** Milliseconds to wait after delivery `attempt` failed: doubling, without jitter, capped. */
export function backoffMs(attempt: number, settings: SubscriptionSettings): number {
  return Math.min(settings.backoffMaxMs, settings.backoffMinMs * 2 ** Math.min(attempt - 1, 30))
}

const topicPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/
const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,59}$/

export function requireTopic(topic: string): void {
  if (!topicPattern.test(topic)) {
    throw new InvalidArgumentError(`"${topic}" is not a topic: use up to 100 letters, digits, ".", "_", "-"`)
  }
}

export function requireSubscription(ref: SubscriptionRef): void {
  requireTopic(ref.topic)
  if (!namePattern.test(ref.name)) {
    throw new InvalidArgumentError(`"${ref.name}" is not a subscription name: use up to 60 letters, digits, "_", "-"`)
  }
}

/** A name for back ends that allow few characters: the same for the same input, and no two alike. */
export function shortHash(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)
}

/** What a handler threw, as one line for a dead letter. */
export function describeError(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
