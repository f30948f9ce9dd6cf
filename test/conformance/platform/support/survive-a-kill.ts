import { expect, vi } from 'vitest'
import type { Lifecycle } from '../../../../src/platform/lifecycle.ts'
import { ServiceUnavailableError } from '../../../../src/platform/platform-error.ts'
import type { PubSub } from '../../../../src/platform/pub-sub.ts'
import { until } from '../../../helpers/until.ts'
import type { ServerProcess } from './server-process.ts'

/** A server needs time to come back, and what its processes held needs time to be given up. */
const patiently = { interval: 5, timeout: 60_000 }

/**
 * Publishes and handles events while the server is killed and started again. The publisher repeats what failed under the
 * same idempotency key; every event that it was told is stored must arrive.
 */
export async function surviveAKill(pubsub: PubSub & Lifecycle, server: ServerProcess): Promise<void> {
  const ref = { topic: 'faults', name: 'survivor' }
  const total = 150
  const handled = new Map<number, number>()
  const failures: unknown[] = []
  let kill: Promise<void> | undefined
  let restart: Promise<void> | undefined

  const subscription = await pubsub.subscribe(
    ref,
    async ({ data }) => {
      handled.set(Number(data), (handled.get(Number(data)) ?? 0) + 1)
      // In mid-work: some are handled, some are stored and wait, some are still to be published.
      if (handled.size === 30) kill ??= server.kill()
    },
    { concurrency: 4, maxAttempts: 50, backoffMinMs: 50, backoffMaxMs: 200, ackTimeoutMs: 1_000 },
  )
  for (let n = 0; n < total; n++) {
    await untilPublished(pubsub, n, async (error) => {
      failures.push(error)
      await kill
      // Only now, so that the publisher has met a dead server.
      restart ??= kill && server.restart()
      await restart
    })
    if (n === 60) await until(() => kill !== undefined)
  }
  await vi.waitUntil(() => handled.size === total, patiently)
  await subscription.stop()

  expect([...handled.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, n) => n))
  expect(failures.length).toBeGreaterThan(0)
  for (const failure of failures) expect(failure).toBeInstanceOf(ServiceUnavailableError)
  expect(await pubsub.deadLetters(ref)).toEqual([])

  async function untilPublished(publisher: PubSub, n: number, onFailure: (error: unknown) => Promise<void>) {
    const event = { type: 'fault.run', source: '/faults', data: n, idempotencyKey: `event ${n}` }
    await vi.waitUntil(async () => {
      try {
        await publisher.publish(ref.topic, event)
        return true
      } catch (error) {
        await onFailure(error)
        return false
      }
    }, patiently)
  }
}
