import assert from 'node:assert/strict'
import { createEnvelope } from '../../platform/event-envelope.ts'
import { forgetConsumedEvents, idempotentConsumer } from '../../platform/idempotent-consumer.ts'
import { type ConformanceSuite, uniqueName } from './conformance-case.ts'
import type { DbSubject } from './db-conformance.ts'

const delivery = { attempt: 1, signal: new AbortController().signal }
const event = (idempotencyKey: string) =>
  createEnvelope({ type: 'conformance.happened', source: '/conformance', data: 1, idempotencyKey }, Date.now)

/** What `idempotentConsumer` promises on every `Db`. */
export const idempotentConsumerConformance: ConformanceSuite<DbSubject> = [
  {
    name: 'does the work of one idempotency key once, however often the event comes',
    run: async ({ db }) => {
      const key = uniqueName('once')
      const handler = idempotentConsumer({ db, consumer: 'adder' }, async (_, tx) => {
        await tx.execute('insert into conformance (name, n) values ($1, 1)', [key])
      })
      await handler(event(key), delivery)
      await handler(event(key), delivery)
      await Promise.all([handler(event(key), delivery), handler(event(key), delivery)])
      assert.deepEqual(await db.query('select n from conformance where name = $1', [key]), [{ n: 1 }])
    },
  },
  {
    name: 'forgets the key when the work fails, so that the next delivery does it',
    run: async ({ db }) => {
      const key = uniqueName('retried')
      let attempts = 0
      const handler = idempotentConsumer({ db, consumer: 'fragile' }, async (_, tx) => {
        attempts++
        await tx.execute('insert into conformance (name, n) values ($1, $2)', [key, attempts])
        if (attempts === 1) throw new Error('half-way')
      })
      await assert.rejects(handler(event(key), delivery), { message: 'half-way' })
      await handler(event(key), delivery)
      assert.deepEqual(await db.query('select n from conformance where name = $1', [key]), [{ n: 2 }])
    },
  },
  {
    name: 'lets every consumer do its own work',
    run: async ({ db }) => {
      const key = uniqueName('shared')
      const seen: string[] = []
      for (const consumer of ['mailer', 'indexer']) {
        await idempotentConsumer({ db, consumer }, async () => void seen.push(consumer))(event(key), delivery)
      }
      assert.deepEqual(seen, ['mailer', 'indexer'])
    },
  },
  {
    name: 'forgets keys that are old enough, and only those',
    run: async ({ db }) => {
      const key = uniqueName('old')
      let runs = 0
      const handler = idempotentConsumer({ db, consumer: 'forgetful' }, async () => void runs++)
      await handler(event(key), delivery)
      await forgetConsumedEvents(db, 3_600_000)
      await handler(event(key), delivery)
      assert.equal(runs, 1)
      await db.execute(`update sluice_platform.consumed_events set at = at - interval '2 hours'`)
      assert.ok((await forgetConsumedEvents(db, 3_600_000)) >= 1)
      await handler(event(key), delivery)
      assert.equal(runs, 2)
    },
  },
]
