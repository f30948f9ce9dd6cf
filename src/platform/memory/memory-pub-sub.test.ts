import { describe, expect, test } from 'vitest'
import { createManualClock } from '../clock.ts'
import { createMemoryPubSub } from './memory-pub-sub.ts'
import { createMemoryTracer } from './memory-tracer.ts'

const event = { type: 'x', source: '/test', data: 1 }
const ref = { topic: 't', name: 's' }

describe('pubsub: memory, on a clock of its own', () => {
  test('doubles the backoff with each failure, up to its limit', async () => {
    const clock = createManualClock(0)
    const pubsub = createMemoryPubSub({ clock })
    const at: number[] = []
    const handler = async () => {
      at.push(clock.now())
      throw new Error('never')
    }
    await pubsub.subscribe(ref, handler, { backoffMinMs: 1_000, backoffMaxMs: 3_000 })
    await pubsub.publish('t', event)
    await clock.advance(60_000)
    expect(at).toEqual([0, 1_000, 3_000, 6_000, 9_000])
    expect(await pubsub.deadLetters(ref)).toMatchObject([{ attempts: 5, error: 'Error: never' }])
  })

  test('remembers an idempotency key for its window and no longer', async () => {
    const clock = createManualClock()
    const pubsub = createMemoryPubSub({ clock, deduplicationWindowMs: 1_000 })
    let count = 0
    await pubsub.subscribe(ref, async () => void count++)
    const once = { ...event, idempotencyKey: 'k' }
    await pubsub.publish('t', once)
    await clock.advance(999)
    await pubsub.publish('t', once)
    await clock.advance(0)
    expect(count).toBe(1)
    await clock.advance(1)
    await pubsub.publish('t', once)
    await clock.advance(0)
    expect(count).toBe(2)
  })

  test('carries the trace of the span in which it was published', async () => {
    const tracer = createMemoryTracer()
    const pubsub = createMemoryPubSub({ tracer })
    const published = await tracer.withSpan('publish', (span) =>
      pubsub.publish('t', event).then((envelope) => ({ envelope, header: span.traceparent })),
    )
    expect(published.envelope.traceparent).toBe(published.header)
  })
})
