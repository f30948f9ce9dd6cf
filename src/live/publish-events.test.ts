import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import { accept, reached, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { natsMissing, natsServers, startNats } from '../../test/conformance/platform/support/servers.ts'
import { toWireId } from '../contract/ids.ts'
import { withSource } from '../database/request-source.ts'
import { completed } from '../operations/define-operation.ts'
import { createPlatform } from '../platform/create-platform.ts'
import type { EventEnvelope } from '../platform/event-envelope.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { ServiceUnavailableError } from '../platform/platform-error.ts'
import type { Platform } from '../platform/platform.ts'
import type { PubSub } from '../platform/pub-sub.ts'
import { createTaskAcceptor } from '../tasks/accept-task.ts'
import { cancelTask } from '../tasks/cancel-task.ts'
import { createEventPublisher, type EventPublisher, type EventPublisherOptions } from './publish-events.ts'

const quiet = { adapter: 'own', service: createMemoryLogger() } as const
let core: Core
let platform: Platform
let topic: string
const publishers: EventPublisher[] = []
const stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  core = await startCore()
  const { pool } = core.database
  platform = createPlatform({ db: { adapter: 'postgres', pool }, pubsub: { adapter: 'pg-boss' }, logger: quiet })
  await platform.start()
})
beforeEach(() => {
  topic = `events-${randomUUID()}`
})
afterEach(async () => {
  await Promise.all(publishers.splice(0).map((publisher) => publisher.stop()))
  for (const stop of stops.splice(0).reverse()) await stop()
})
afterAll(async () => {
  await platform.stop()
  await core.stop()
})

async function publish(options: Partial<EventPublisherOptions> = {}): Promise<EventPublisher> {
  const publisher = createEventPublisher({
    pool: core.database.pool,
    listener: core.listener,
    pubsub: platform.pubsub,
    logger: createMemoryLogger(),
    holder: randomUUID(),
    topic,
    pollMs: 50,
    ...options,
  })
  await publisher.start()
  publishers.push(publisher)
  return publisher
}

/** Another program: what it was handed, in the order of arrival. */
async function subscribe(pubsub: PubSub = platform.pubsub): Promise<EventEnvelope[]> {
  const received: EventEnvelope[] = []
  const handler = async (event: EventEnvelope) => void received.push(event)
  const subscription = await pubsub.subscribe({ topic, name: 'billing' }, handler, {
    concurrency: 4,
    ackTimeoutMs: 1_000,
  })
  stops.push(() => subscription.stop())
  return received
}

const about = (received: readonly EventEnvelope[], taskId: string) =>
  received.filter(({ subject }) => subject === toWireId('task', taskId))
const loggedSince = async (seq: string) =>
  (
    await core.database.pool.query<{ event_id: string; task_id: string | null }>(
      'select event_id, task_id from sluice.domain_events where seq > $1 order by seq',
      [seq],
    )
  ).rows
const lastSeq = async (): Promise<string> =>
  (await core.database.pool.query<{ seq: string }>('select last_value as seq from sluice.event_seq')).rows[0]?.seq ?? ''
const acceptAndCancel = async () => {
  const taskId = await accept(core, noop)
  await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
  return taskId
}

describe('the log, published for other programs', () => {
  test('as CloudEvents: the id is the event’s, the source its tenant, the key its task', async () => {
    const received = await subscribe()
    await publish()
    const traced = createTaskAcceptor({ ...core, tracer: platform.tracer })
    const source = { address: '203.0.113.7', via: 'token' as const, token_id: 'token_x' }
    const { taskId } = await withSource(source, () =>
      traced.accept({ operation: noop, input: { name: randomUUID() }, options: {}, tenant: 'acme', actor: 'ada' }),
    )
    await until(() => about(received, taskId).length === 1)
    const { rows } = await core.database.pool.query(
      `select event_id, at, payload->>'traceparent' as traceparent from sluice.domain_events where task_id = $1`,
      [taskId],
    )
    expect(about(received, taskId)[0]).toMatchObject({
      specversion: '1.0',
      id: rows[0].event_id,
      idempotencykey: rows[0].event_id,
      type: 'task.requested',
      source: '/tenants/acme',
      subject: toWireId('task', taskId),
      partitionkey: taskId,
      time: rows[0].at.toISOString(),
      traceparent: rows[0].traceparent,
      data: { id: rows[0].event_id, tenant: 'acme', type: 'task.requested', actor: 'ada', data: { class: 'short' } },
    })
    // Where a request came from is for the audit alone.
    expect(JSON.stringify(received)).not.toContain('203.0.113.7')
  })

  test('every event once, each task in order', async () => {
    const received = await subscribe()
    const before = await lastSeq()
    await publish({ pageSize: 7 })
    await Promise.all(Array.from({ length: 60 }, acceptAndCancel))
    const logged = await loggedSince(before)
    await until(() => received.length >= logged.length)
    expect(received.map(({ id }) => id).toSorted()).toEqual(logged.map(({ event_id }) => event_id).toSorted())
    for (const events of Map.groupBy(received, ({ subject }) => subject).values()) {
      expect(events.map(({ type }) => type)).toEqual(['task.requested', 'task.cancelled'])
    }
  })

  test('what commits late comes late, and comes', async () => {
    const received = await subscribe()
    let looks = 0
    const { pool } = core.database
    const counted = new Proxy(pool, {
      get: (target, name) =>
        name !== 'query'
          ? (Reflect.get(target, name) as unknown)
          : (text: string, values?: unknown[]) => {
              if (text.includes('event_seq')) looks++
              return target.query(text, values)
            },
    })
    await publish({ pool: counted })
    const late = new Client({ connectionString: core.url })
    await late.connect()
    await late.query(
      `begin; select set_config('role', 'sluice_api', true), set_config('sluice.tenant', 'default', true);
       select sluice.append_event(null, 'test.late', 'me', '{}')`,
    )
    const taskId = await accept(core, noop)
    const seen = looks
    await until(() => looks > seen + 3)
    expect(received).toEqual([])
    await late.query('commit')
    await late.end()
    await until(() => about(received, taskId).length === 1 && received.some(({ type }) => type === 'test.late'))
    expect(received).toHaveLength(2)
  })

  test('goes on where it was after a stop; what happened meanwhile is not lost', async () => {
    const received = await subscribe()
    const first = await publish()
    const before = await accept(core, noop)
    await until(() => about(received, before).length === 1)
    await first.stop()
    const meanwhile = await acceptAndCancel()
    await publish()
    await until(() => about(received, meanwhile).length === 2)
    expect(about(received, before)).toHaveLength(1)
  })

  test('an event that brokers would refuse for its size comes without its data, and says so', async () => {
    const huge = testOperation({ perform: async () => completed({ text: 'x'.repeat(300_000) }) })
    const received = await subscribe()
    await publish()
    const worker = await startWorker(core, [huge])
    const taskId = await accept(core, huge)
    await reached(core, taskId)
    await worker.stop(0)
    await until(() => about(received, taskId).some(({ type }) => type === 'task.completed'))
    const [event] = about(received, taskId).filter(({ type }) => type === 'task.completed')
    expect(event?.data).toMatchObject({ truncated: true, data: {}, task_id: toWireId('task', taskId) })
  })

  test('says what retention dropped before it was published', async () => {
    const logger = createMemoryLogger()
    await core.database.pool.query(
      `insert into sluice.log_checkpoints (partition, from_seq, to_seq, events, digest) values ($1, 1, 9000000, 1, '')`,
      [topic],
    )
    await publish({ logger })
    await until(() => logger.lines.some(({ level }) => level === 'error'))
    expect(logger.lines[0]).toMatchObject({ message: 'events were dropped by retention before they were published' })
    await core.database.pool.query('delete from sluice.log_checkpoints where partition = $1', [topic])
  })
})

describe('one publisher at a time', () => {
  /** The real service, with a note of who published what and when. */
  function recording(who: string, calls: { who: string; id: string }[]): PubSub {
    return {
      ...platform.pubsub,
      publish: (to, event, options) => {
        calls.push({ who, id: event.id ?? '' })
        return platform.pubsub.publish(to, event, options)
      },
    }
  }

  test('of many processes one publishes, each event once; when it stops, another goes on at once', async () => {
    const calls: { who: string; id: string }[] = []
    const received = await subscribe()
    const before = await lastSeq()
    const started = await Promise.all(
      ['a', 'b', 'c'].map(async (who) => [who, await publish({ pubsub: recording(who, calls) })] as const),
    )
    for (let round = 0; round < 3; round++) {
      await Promise.all(Array.from({ length: 20 }, acceptAndCancel))
      await until(async () => new Set(received.map(({ id }) => id)).size >= (await loggedSince(before)).length)
      const turn = calls.at(-1)?.who
      await started.find(([who]) => who === turn)?.[1].stop()
    }
    const logged = await loggedSince(before)
    expect(calls.map(({ id }) => id).toSorted()).toEqual(logged.map(({ event_id }) => event_id).toSorted())
    // One after the other: whoever has given it up does not come back.
    const turns = calls.map(({ who }) => who).filter((who, n, all) => who !== all[n - 1])
    expect(turns).toHaveLength(3)
    expect(new Set(turns).size).toBe(3)
  })

  test('one whose lease has ended publishes nothing more, and writes no cursor', async () => {
    const received = await subscribe()
    const gate = Promise.withResolvers<void>()
    let held = 0
    const stuck: PubSub = {
      ...platform.pubsub,
      publish: async (to, event, options) => {
        held++
        await gate.promise
        return platform.pubsub.publish(to, event, options)
      },
    }
    // Its renewals do not come through, as those of a process that stands still.
    const { pool } = core.database
    const deaf = new Proxy(pool, {
      get: (target, name) =>
        name !== 'query'
          ? (Reflect.get(target, name) as unknown)
          : (text: string, values?: unknown[]) =>
              held > 0 && text.includes('event_publishers') ? new Promise(() => undefined) : target.query(text, values),
    })
    const stale = createEventPublisher({
      pool: deaf,
      listener: core.listener,
      pubsub: stuck,
      logger: createMemoryLogger(),
      holder: 'stale',
      topic,
      pollMs: 20,
      leaseMs: 300,
    })
    // The cursor stands before all that follows, so that the first page has it all.
    await (await publish()).stop()
    const taskIds = await Promise.all(Array.from({ length: 20 }, acceptAndCancel))
    await stale.start()
    await until(() => held > 0)
    await publish({ leaseMs: 300 })
    await until(() => taskIds.every((taskId) => about(received, taskId).length === 2))
    const before = held
    gate.resolve()
    await acceptAndCancel()
    await until(() => received.length >= 42)
    expect(held).toBe(before)
    for (const taskId of taskIds) {
      expect(about(received, taskId).map(({ type }) => type)).toEqual(['task.requested', 'task.cancelled'])
    }
  })
})

describe('a PubSub that fails', () => {
  test('costs time, never an event, and keeps the order', async () => {
    const received = await subscribe()
    let failing = true
    let failures = 0
    const flaky: PubSub = {
      ...platform.pubsub,
      publish: (to, event, options) => {
        if (failing && ++failures % 3 === 0) return Promise.reject(new ServiceUnavailableError('broker', 'away'))
        return platform.pubsub.publish(to, event, options)
      },
    }
    const logger = createMemoryLogger()
    await publish({ pubsub: flaky, logger })
    const taskIds = await Promise.all(Array.from({ length: 30 }, acceptAndCancel))
    await until(() => failures > 20)
    failing = false
    await until(() => taskIds.every((taskId) => about(received, taskId).length === 2))
    for (const taskId of taskIds) {
      expect(about(received, taskId).map(({ type }) => type)).toEqual(['task.requested', 'task.cancelled'])
    }
    expect(logger.lines.some(({ level }) => level === 'warn')).toBe(true)
  })

  test('NATS, killed and started again: every event arrives, each task in order', async (context) => {
    if (natsMissing !== false) return context.skip(natsMissing)
    const server = await startNats()
    stops.push(() => server.stop())
    const nats = createPlatform({
      pubsub: { adapter: 'nats', servers: natsServers(server), timeoutMs: 1_000 },
      logger: quiet,
    })
    await nats.start()
    stops.push(() => nats.stop())
    const received = await subscribe(nats.pubsub)
    await publish({ pubsub: nats.pubsub })
    const before = await Promise.all(Array.from({ length: 10 }, acceptAndCancel))
    await until(() => before.every((taskId) => about(received, taskId).length === 2))
    await server.kill()
    const meanwhile = await Promise.all(Array.from({ length: 10 }, acceptAndCancel))
    await server.restart()
    await expect
      .poll(() => meanwhile.every((taskId) => about(received, taskId).length >= 2), { timeout: 30_000 })
      .toBe(true)
    for (const taskId of [...before, ...meanwhile]) {
      const firsts = about(received, taskId).filter(({ id }, n, all) => all.findIndex((one) => one.id === id) === n)
      expect(firsts.map(({ type }) => type)).toEqual(['task.requested', 'task.cancelled'])
    }
  }, 60_000)
})
