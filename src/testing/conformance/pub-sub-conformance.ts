import assert from 'node:assert/strict'
import type { Db } from '../../platform/db.ts'
import { type EventEnvelope, eventEnvelopeSchema, type NewEvent } from '../../platform/event-envelope.ts'
import type { PubSub, SubscribeOptions, SubscriptionRef } from '../../platform/pub-sub.ts'
import { type ConformanceSuite, eventually, gate, uniqueName } from './conformance-case.ts'

export interface PubSubSubject {
  readonly pubsub: PubSub
  /** The same back end as another process sees it; may be the same object where there is no other process. */
  readonly other: PubSub
  /** For publishing in a transaction. Needed where `transactionalPublish` is claimed. */
  readonly db?: Db
}

const needsOrder = ({ pubsub }: PubSubSubject) =>
  pubsub.capabilities.ordering === 'key' ? undefined : "declares `ordering: 'none'`"
const needsTransactions = ({ pubsub }: PubSubSubject) =>
  pubsub.capabilities.transactionalPublish ? undefined : 'does not claim `transactionalPublish`'

const happened = (data: unknown, rest: Partial<NewEvent> = {}): NewEvent => ({
  type: 'conformance.happened',
  source: '/conformance',
  data,
  ...rest,
})

/** Soon enough for a test; the defaults are for people. */
const quick: SubscribeOptions = { backoffMinMs: 50, backoffMaxMs: 200 }

function newSubscription(topic = uniqueName('topic')): SubscriptionRef {
  return { topic, name: uniqueName('sub') }
}

/** Makes the durable subscription and leaves it without a handler. */
async function create(pubsub: PubSub, ref: SubscriptionRef): Promise<void> {
  await (await pubsub.subscribe(ref, async () => undefined)).stop()
}

/** Subscribes, runs `use` with what has arrived so far, and stops. */
async function receiving(
  pubsub: PubSub,
  ref: SubscriptionRef,
  use: (received: readonly EventEnvelope[]) => Promise<void>,
): Promise<void> {
  const received: EventEnvelope[] = []
  const subscription = await pubsub.subscribe(ref, async (event) => void received.push(event), quick)
  try {
    await use(received)
  } finally {
    await subscription.stop()
  }
}

/** Publishes one more event and waits for it: whatever was to come before it has come. */
async function settled(pubsub: PubSub, topic: string, received: readonly EventEnvelope[], key?: string): Promise<void> {
  const marker = uniqueName('marker')
  await pubsub.publish(topic, happened(marker, key === undefined ? {} : { key }))
  await eventually('the marker arrives', () => received.some((event) => event.data === marker))
}

/** What every `PubSub` promises. */
export const pubSubConformance: ConformanceSuite<PubSubSubject> = [
  {
    name: 'delivers an event to every subscription of its topic, as the CloudEvent that publish returned',
    run: async ({ pubsub, other }) => {
      const first = newSubscription()
      const second = newSubscription(first.topic)
      await receiving(pubsub, first, (one) =>
        receiving(other, second, async (two) => {
          const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
          const data = { text: 'é\u2028', list: [null, 1.5] }
          const event = happened(data, { subject: 'task_1', key: 'k', idempotencyKey: 'i', traceparent })
          const published = await pubsub.publish(first.topic, event)
          assert.deepEqual(eventEnvelopeSchema.parse(published), published)
          assert.equal(published.specversion, '1.0')
          assert.equal(published.partitionkey, 'k')
          assert.equal(published.idempotencykey, 'i')
          assert.equal(published.traceparent, traceparent)
          assert.deepEqual(published.data, data)
          await eventually('both have it', () => one.length > 0 && two.length > 0)
          assert.deepEqual([...one, ...two], [published, published])
        }),
      )
    },
  },
  {
    name: 'keeps topics apart, and does not deliver what was published before the subscription',
    run: async ({ pubsub }) => {
      const ref = newSubscription()
      await pubsub.publish(ref.topic, happened('too early'))
      await receiving(pubsub, ref, async (received) => {
        await pubsub.publish(uniqueName('other'), happened('elsewhere'))
        await pubsub.publish(`${ref.topic}.more`, happened('elsewhere'))
        await settled(pubsub, ref.topic, received)
        assert.equal(received.length, 1)
      })
    },
  },
  {
    name: 'keeps events for a durable subscription while nobody handles it',
    run: async ({ pubsub, other }) => {
      const ref = newSubscription()
      await create(pubsub, ref)
      for (const n of [1, 2, 3]) await pubsub.publish(ref.topic, happened(n))
      await receiving(other, ref, async (received) => {
        await eventually('all have arrived', () => received.length >= 3)
        const arrived = received.map((event) => Number(event.data))
        assert.deepEqual(
          arrived.sort((a, b) => a - b),
          [1, 2, 3],
        )
      })
    },
  },
  {
    name: 'shares one subscription among its processes: each event goes to one of them',
    run: async ({ pubsub, other }) => {
      const ref = newSubscription()
      await receiving(pubsub, ref, (one) =>
        receiving(other, ref, async (two) => {
          for (let n = 0; n < 20; n++) await pubsub.publish(ref.topic, happened(n))
          await eventually('all have arrived', () => one.length + two.length >= 20)
          const ids = new Set([...one, ...two].map((event) => event.id))
          assert.equal(ids.size, 20)
          assert.equal(one.length + two.length, 20, 'an event was handled twice without a failure')
        }),
      )
    },
  },
  {
    name: 'delivers again after a failure, counting attempts, after the backoff',
    run: async ({ pubsub }) => {
      const ref = newSubscription()
      const attempts: { attempt: number; at: number }[] = []
      const handler = async (event: EventEnvelope, { attempt }: { attempt: number }) => {
        attempts.push({ attempt, at: performance.now() })
        // A handler may change what it was given; the next delivery is untouched.
        Object.assign(event, { data: 'changed' })
        if (attempt < 3) throw new Error('not yet')
      }
      const subscription = await pubsub.subscribe(ref, handler, { backoffMinMs: 200, backoffMaxMs: 300 })
      await pubsub.publish(ref.topic, happened('again'))
      await eventually('the third delivery', () => attempts.length >= 3)
      await subscription.stop()
      assert.deepEqual(
        attempts.map(({ attempt }) => attempt),
        [1, 2, 3],
      )
      const waits = attempts.slice(1).map(({ at }, index) => at - (attempts[index]?.at ?? 0))
      assert.ok((waits[0] ?? 0) >= 190, `the first backoff was ${waits[0]} ms of 200`)
      assert.ok((waits[1] ?? 0) >= 290, `the second backoff was ${waits[1]} ms of 300`)
    },
  },
  {
    name: 'makes a dead letter of an event that fails too often, goes on, and redelivers it when told',
    run: async ({ pubsub, other }) => {
      const ref = newSubscription()
      let broken = true
      const handled: unknown[] = []
      const handler = async (event: EventEnvelope) => {
        if (broken && event.data === 'poison') throw new Error('cannot digest')
        handled.push(event.data)
      }
      const subscription = await pubsub.subscribe(ref, handler, { ...quick, maxAttempts: 2 })
      const poison = await pubsub.publish(ref.topic, happened('poison', { key: 'k' }))
      await pubsub.publish(ref.topic, happened('next of its key', { key: 'k' }))
      await eventually('its successor is handled', () => handled.includes('next of its key'))
      await eventually('the dead letter shows', async () => (await other.deadLetters(ref)).length > 0)
      assert.deepEqual(await other.deadLetters(ref), [{ event: poison, attempts: 2, error: 'Error: cannot digest' }])
      broken = false
      assert.equal(await other.redrive(ref, ['another id']), 0)
      assert.equal(await other.redrive(ref, [poison.id]), 1)
      await eventually('it is handled after all', () => handled.includes('poison'))
      assert.deepEqual(await pubsub.deadLetters(ref), [])
      assert.equal(await pubsub.redrive(ref), 0)
      await subscription.stop()
    },
  },
  {
    name: 'a dead letter and its redelivery concern one subscription only',
    run: async ({ pubsub }) => {
      const failing = newSubscription()
      const healthy = newSubscription(failing.topic)
      let broken = true
      const handler = async () => {
        if (broken) throw new Error('broken')
      }
      const subscription = await pubsub.subscribe(failing, handler, { ...quick, maxAttempts: 1 })
      await receiving(pubsub, healthy, async (received) => {
        await pubsub.publish(failing.topic, happened('for both'))
        await eventually('the dead letter shows', async () => (await pubsub.deadLetters(failing)).length > 0)
        assert.deepEqual(await pubsub.deadLetters(healthy), [])
        broken = false
        assert.equal(await pubsub.redrive(failing), 1)
        await settled(pubsub, failing.topic, received)
        assert.equal(received.filter((event) => event.data === 'for both').length, 1)
      })
      await subscription.stop()
    },
  },
  {
    name: 'drops a second publish with the same idempotency key',
    run: async ({ pubsub, other }) => {
      const ref = newSubscription()
      await receiving(pubsub, ref, async (received) => {
        const idempotencyKey = uniqueName('key')
        await pubsub.publish(ref.topic, happened('once', { idempotencyKey }))
        await other.publish(ref.topic, happened('once', { idempotencyKey }))
        await settled(pubsub, ref.topic, received)
        assert.equal(received.filter((event) => event.data === 'once').length, 1)
        await receiving(other, newSubscription(), async () => undefined)
      })
    },
  },
  {
    name: 'has as many events in hand as it was told, and no more',
    run: async ({ pubsub }) => {
      const ref = newSubscription()
      const release = gate()
      let inHand = 0
      let most = 0
      let done = 0
      const handler = async () => {
        most = Math.max(most, ++inHand)
        await release.opened
        inHand--
        done++
      }
      const subscription = await pubsub.subscribe(ref, handler, { ...quick, concurrency: 3 })
      for (let n = 0; n < 30; n++) await pubsub.publish(ref.topic, happened(n))
      await eventually('three are in hand', () => inHand === 3)
      release.open()
      await eventually('all are done', () => done >= 30)
      await subscription.stop()
      assert.equal(most, 3)
    },
  },
  {
    name: 'stop aborts the signal, waits for the event in hand and takes no other',
    run: async ({ pubsub }) => {
      const ref = newSubscription()
      const seen: unknown[] = []
      let finished = false
      const handler = async (event: EventEnvelope, { signal }: { signal: AbortSignal }) => {
        seen.push(event.data)
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
        finished = true
      }
      const subscription = await pubsub.subscribe(ref, handler, quick)
      await pubsub.publish(ref.topic, happened('first', { key: 'k' }))
      await pubsub.publish(ref.topic, happened('second', { key: 'k' }))
      await eventually('the first is in hand', () => seen.length > 0)
      await subscription.stop()
      assert.equal(finished, true)
      await subscription.stop()
      await receiving(pubsub, ref, async (received) => {
        await eventually('the second comes to the next handler', () => received.length > 0)
        assert.deepEqual(
          received.map((event) => event.data),
          ['second'],
          'the first was settled when its handler returned',
        )
      })
    },
  },
  {
    name: 'counts a delivery as failed when its handler hangs',
    run: async ({ pubsub }) => {
      const ref = newSubscription()
      const aborted: unknown[] = []
      const handler = async (event: EventEnvelope, { attempt, signal }: { attempt: number; signal: AbortSignal }) => {
        if (attempt > 1) return void aborted.push('second delivery')
        signal.addEventListener('abort', () => aborted.push('aborted'), { once: true })
        await new Promise(() => undefined)
      }
      const subscription = await pubsub.subscribe(ref, handler, { ...quick, timeoutMs: 200 })
      await pubsub.publish(ref.topic, happened('slow'))
      await eventually('it is delivered again', () => aborted.length >= 2)
      await subscription.stop()
      assert.deepEqual(aborted, ['aborted', 'second delivery'])
    },
  },
  {
    name: 'unsubscribe forgets the subscription with what waited under it',
    run: async ({ pubsub }) => {
      const ref = newSubscription()
      await create(pubsub, ref)
      await pubsub.publish(ref.topic, happened('forgotten'))
      await pubsub.unsubscribe(ref)
      await pubsub.unsubscribe(ref)
      assert.deepEqual(await pubsub.deadLetters(ref), [])
      await receiving(pubsub, ref, async (received) => {
        await settled(pubsub, ref.topic, received)
        assert.equal(received.length, 1)
      })
    },
  },
  {
    name: 'refuses names and events that cannot travel',
    run: async ({ pubsub }) => {
      const refused = { code: 'invalid_argument' }
      await assert.rejects(pubsub.publish('not a topic', happened(1)), refused)
      await assert.rejects(pubsub.publish('topic', happened(1, { type: '' })), refused)
      await assert.rejects(pubsub.publish('topic', happened(undefined)), refused)
      await assert.rejects(pubsub.publish('topic', happened(new Map())), refused)
      await assert.rejects(pubsub.publish('topic', happened(1, { traceparent: 'not one' })), refused)
      const handler = async () => undefined
      await assert.rejects(pubsub.subscribe({ topic: 't', name: 'a.b' }, handler), refused)
      await assert.rejects(pubsub.subscribe({ topic: 't', name: 'n' }, handler, { maxAttempts: 0 }), refused)
    },
  },
  {
    name: 'keeps the order of each key, with failures, many keys and several handlers at once',
    unclaimed: needsOrder,
    run: async ({ pubsub, other }) => {
      const ref = newSubscription()
      const seen = new Map<string, unknown[]>()
      let count = 0
      const handler = async (event: EventEnvelope, { attempt }: { attempt: number }) => {
        // A third of the events fails at first: its successors must wait for it.
        if (attempt === 1 && Number(event.data) % 3 === 0) throw new Error('at first')
        const key = event.partitionkey ?? ''
        seen.set(key, [...(seen.get(key) ?? []), event.data])
        count++
      }
      const options = { ...quick, concurrency: 3 }
      const one = await pubsub.subscribe(ref, handler, options)
      const two = await other.subscribe(ref, handler, options)
      const keys = ['a', 'b', 'c']
      for (let n = 0; n < 10; n++) {
        for (const key of keys) await (n % 2 === 0 ? pubsub : other).publish(ref.topic, happened(n, { key }))
      }
      await eventually('all are handled', () => count >= 30)
      await Promise.all([one.stop(), two.stop()])
      for (const key of keys) assert.deepEqual(seen.get(key), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], `order of key ${key}`)
    },
  },
  {
    name: 'refuses to publish in a transaction when it cannot',
    unclaimed: (subject) =>
      needsTransactions(subject) === undefined ? 'claims `transactionalPublish`, which other cases check' : undefined,
    run: async ({ pubsub }) => {
      const tx = { query: async () => [], afterCommit: () => undefined }
      await assert.rejects(pubsub.publish('topic', happened(1), { tx }), { code: 'not_supported' })
    },
  },
  {
    name: 'publishes in a transaction if and only if it commits, in order',
    unclaimed: needsTransactions,
    run: async ({ pubsub, db }) => {
      assert.ok(db, 'the subject needs a db')
      const ref = newSubscription()
      await receiving(pubsub, ref, async (received) => {
        const undo = new Error('undo')
        const idempotencyKey = uniqueName('key')
        const rolledBack = db.withTx(async (tx) => {
          await pubsub.publish(ref.topic, happened('undone', { key: 'k', idempotencyKey }), { tx })
          throw undo
        })
        await assert.rejects(rolledBack, (error) => error === undo)
        await db.withTx(async (tx) => {
          for (let n = 0; n < 10; n++) await pubsub.publish(ref.topic, happened(n, { key: 'k' }), { tx })
          await assert.rejects(
            tx.withTx(async (inner) => {
              await pubsub.publish(ref.topic, happened('undone', { key: 'k' }), { tx: inner })
              throw undo
            }),
          )
          assert.equal(received.length, 0)
        })
        // A key that was rolled back is not remembered.
        await pubsub.publish(ref.topic, happened('done', { key: 'k', idempotencyKey }))
        await eventually('all have arrived', () => received.length >= 11)
        assert.deepEqual(
          received.map((event) => event.data),
          [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 'done'],
        )
      })
    },
  },
]
