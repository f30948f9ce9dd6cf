import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { createFeed, type Feed } from './feed.ts'
import type { LoggedEvent } from './feed.sql.ts'

const logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger }

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

async function startFeed(): Promise<Feed> {
  const feed = createFeed({ pool: core.database.pool, listener: core.listener, logger, pollMs: 50 })
  await feed.start()
  return feed
}

/** Collects events of a tenant until `enough` says so. */
function collect(feed: Feed, options: { tenant: string; after?: bigint; taskId?: string }) {
  const events: LoggedEvent[] = []
  let check: () => void = () => undefined
  const unsubscribe = feed.subscribe({
    ...options,
    onEvent: (event) => {
      events.push(event)
      check()
    },
    onError: (error) => {
      throw error
    },
  })
  const until = (enough: (events: readonly LoggedEvent[]) => boolean): Promise<void> =>
    new Promise((resolve) => {
      check = () => {
        if (enough(events)) resolve()
      }
      check()
    })
  return { events, until, unsubscribe }
}

const accept = (tenant: string, actor = 'a') =>
  core.acceptor.accept({ operation: noop, input: { name: randomUUID() }, options: {}, tenant, actor })

describe('live feed: numbers commit out of order, and nothing is missed', () => {
  // 64 writers that hold their transactions open for different times, some that roll back, and one that stays open
  // throughout: a cursor on the number alone loses events here.
  test('64 slow writers, aborts and a long transaction: every event once, each task in order', async () => {
    const feed = await startFeed()
    const tenant = 'writers'
    const reader = collect(feed, { tenant })
    const long = new Client({ connectionString: core.url })
    await long.connect()
    await long.query('begin; select 1; select txid_current()')

    const tasks = await Promise.all(Array.from({ length: 64 }, () => accept(tenant)))
    const committed = await Promise.all(tasks.map(({ taskId }, i) => writeSlowly({ taskId, tenant, writer: i })))
    const expected = 64 + committed.reduce((sum, count) => sum + count, 0)

    await reader.until((events) => events.length >= expected)
    await long.query('rollback')
    await long.end()
    // Once more after everything has ended: a repeated or late event would show now.
    await reader.until(() => feed.cursor >= (reader.events.at(-1)?.seq ?? 0n))

    const { rows } = await core.database.pool.query<{ seq: string }>(
      'select seq from sluice.domain_events where tenant_id = $1 order by seq',
      [tenant],
    )
    expect(reader.events.map(({ seq }) => seq.toString())).toEqual(rows.map(({ seq }) => seq))
    expect(rows).toHaveLength(expected)
    for (const { taskId } of tasks) {
      const steps = reader.events
        .filter((event) => event.taskId === taskId)
        .map(({ type, payload }) => [type, payload['step']])
      expect(steps).toEqual(steps.toSorted((a, b) => Number(a[1] ?? -1) - Number(b[1] ?? -1)))
    }
    reader.unsubscribe()
    await feed.stop()
  })

  /** Six transactions of one task: each holds its number for a while before it commits, or rolls back. */
  async function writeSlowly(writer: { taskId: string; tenant: string; writer: number }): Promise<number> {
    let committed = 0
    const append = (type: string, data: object, holdMs: number) =>
      core.database.transaction({ role: 'sluice_worker' }, async (tx) => {
        await sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
          values (${writer.taskId}::uuid, ${writer.tenant}, ${type}, 'w', ${JSON.stringify(data)}::jsonb)`.execute(tx)
        await sql`select pg_sleep(${holdMs / 1000})`.execute(tx)
      })
    await append('task.started', { claim: 0, step: 0 }, writer.writer % 7)
    committed++
    for (let step = 1; step <= 6; step++) {
      const data = { attempt: 1, step, progress: { done: step, total: 6, message: null } }
      if ((writer.writer + step) % 3 === 0) {
        // Takes a number, and then fails: the number is a hole for ever.
        await append('task.progress', data, 0)
        committed++
        await expect(failAfterNumber(writer)).rejects.toThrow('rolled back')
      } else {
        await append('task.progress', data, ((writer.writer * 13 + step * 29) % 40) + 1)
        committed++
      }
    }
    return committed
  }

  const failAfterNumber = (writer: { taskId: string; tenant: string }) =>
    core.database.transaction({ role: 'sluice_worker' }, async (tx) => {
      await sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
        values (${writer.taskId}::uuid, ${writer.tenant}, 'task.completed', 'w', '{"attempt":1}')`.execute(tx)
      await sql`select pg_sleep(0.01)`.execute(tx)
      throw new Error('rolled back')
    })

  test('a cursor resumes: nothing missed, nothing twice, across the change from catching up to live', async () => {
    const feed = await startFeed()
    const tenant = 'resume'
    const first = collect(feed, { tenant })
    for (let i = 0; i < 5; i++) await accept(tenant)
    await first.until((events) => events.length === 5)
    first.unsubscribe()
    const cursor = first.events[2]?.seq ?? 0n

    // More arrive while the second reader catches up.
    const second = collect(feed, { tenant, after: cursor })
    const more = Promise.all(Array.from({ length: 20 }, () => accept(tenant)))
    await second.until((events) => events.length >= 22)
    await more
    const numbers = second.events.map(({ seq }) => seq)
    expect(numbers).toEqual([...new Set(numbers)].toSorted((a, b) => (a < b ? -1 : 1)))
    expect(numbers.slice(0, 2)).toEqual(first.events.slice(3).map(({ seq }) => seq))
    second.unsubscribe()
    await feed.stop()
  })

  test('several processes read the same log alike, and a subscriber sees one tenant and one task', async () => {
    const feeds = [await startFeed(), await startFeed()]
    const readers = feeds.map((feed) => collect(feed, { tenant: 'alike' }))
    const { taskId } = await accept('alike')
    await accept('alike')
    await accept('somebody-else')
    const one = collect(feeds[0] ?? (await startFeed()), { tenant: 'alike', taskId, after: 0n })
    const foreign = collect(feeds[1] ?? (await startFeed()), { tenant: 'somebody-else', taskId, after: 0n })
    await Promise.all(readers.map((reader) => reader.until((events) => events.length === 2)))
    await one.until((events) => events.length === 1)
    expect(readers[0]?.events).toEqual(readers[1]?.events)
    expect(one.events[0]?.taskId).toBe(taskId)
    expect(foreign.events).toEqual([])
    await Promise.all(feeds.map((feed) => feed.stop()))
  })

  test('an event shows within moments of its commit, by signal and not by polling', async () => {
    const feed = createFeed({ pool: core.database.pool, listener: core.listener, logger, pollMs: 60_000 })
    await feed.start()
    const reader = collect(feed, { tenant: 'quick' })
    const begin = performance.now()
    await accept('quick')
    await reader.until((events) => events.length === 1)
    expect(performance.now() - begin).toBeLessThan(2_000)
    await feed.stop()
  })
})
