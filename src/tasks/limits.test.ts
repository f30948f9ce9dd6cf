import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import {
  accept,
  reached,
  readTask,
  startWorker,
  startWorkerProcess,
  testOperation,
  scripted,
} from '../../test/helpers/worker.ts'
import { completed, type Operation } from '../operations/define-operation.ts'
import { TargetUnavailableError } from '../operations/errors.ts'
import { acceptBatch } from './batch.ts'
import { cancelMany } from './act-on-many.ts'
import { cancelTask } from './cancel-task.ts'
import { pauseQueue, removeLimit, resumeQueue, setLimit } from './queues.ts'
import { explainTasks, whyWaiting } from './why-waiting.ts'

let core: Core
const stops: (() => Promise<void>)[] = []
beforeAll(async () => {
  core = await startCore()
})
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})
afterAll(() => core.stop())

const scope = (tenant = 'default') => ({ database: core.database, tenant, actor: 'admin' })
const platform = () => ({ ...scope('platform'), platform: true })
const work = async (operation: Operation, slots = 10) => {
  const worker = await startWorker(core, [operation], { slots })
  stops.push(() => worker.stop(0))
}

/** Counts how many run at once, and lets each go on only when told to. */
function gate() {
  const open: (() => void)[] = []
  const started: string[] = []
  let now = 0
  let most = 0
  return {
    started,
    get now() {
      return now
    },
    get most() {
      return most
    },
    /** False when none runs. */
    pass: () => {
      const next = open.shift()
      next?.()
      return next !== undefined
    },
    perform: async (_context: unknown, { name }: { name: string }) => {
      started.push(name)
      most = Math.max(most, ++now)
      await new Promise<void>((resolve) => open.push(resolve))
      now--
      return completed({})
    },
  }
}

const why = async (taskId: string) => {
  const task = await readTask(core, taskId)
  return whyWaiting(task, (await explainTasks(core.database, task.tenant_id, [task])).get(taskId))
}

/** What those are told that a limit holds back; who is next in the queue is not one of them. */
const heldBack = async (tasks: readonly string[]) =>
  (await Promise.all(tasks.map(why))).filter((text) => text?.includes('which is its limit') === true)

describe('limits are in the database, and hold across processes', () => {
  test('a tenant never runs more than its limit; what is over waits unburned and goes on at each release', async () => {
    const gated = gate()
    const operation = testOperation({ perform: gated.perform })
    await setLimit(scope(), { scope: 'tenant', key: 'default', maxRunning: 2, perMinute: null, burst: 1 })
    stops.push(async () => void (await removeLimit(scope(), { scope: 'tenant', key: 'default' })))
    // Two workers, as two processes would be: nothing is shared but the database.
    await work(operation)
    await work(operation)
    const taskIds = await Promise.all(Array.from({ length: 8 }, () => accept(core, operation)))
    await until(() => gated.now === 2)
    await until(async () => (await core.database.pool.query('select from sluice.holds')).rowCount === 6)
    const held = (await Promise.all(taskIds.map(why))).filter((text) => text !== null)
    expect(held).toHaveLength(6)
    expect(held[0]).toMatch(/^The tenant default runs 2 tasks at once, which is its limit/)
    for (let ended = 0; ended < 8; ended++) {
      const before = gated.started.length
      await until(() => gated.pass())
      const released = Date.now()
      if (before < taskIds.length) {
        await until(() => gated.started.length > before)
        expect(Date.now() - released).toBeLessThan(3_000)
      }
    }
    for (const taskId of taskIds)
      expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED', attempt: 1, handed_back: 0 })
    expect(gated.most).toBe(2)
  })

  test('a tenant’s own limit counts, and holds back, nobody else’s tasks', async () => {
    const gated = gate()
    const operation = testOperation({ perform: gated.perform })
    const own = { scope: 'operation', key: operation.type } as const
    await setLimit(scope('small'), { ...own, maxRunning: 1, perMinute: null, burst: 1 })
    stops.push(async () => void (await removeLimit(scope('small'), own)))
    await work(operation)
    for (let i = 0; i < 3; i++) await accept(core, operation, { tenant: 'big' })
    await until(() => gated.now === 3)
    const first = await accept(core, operation, { tenant: 'small' })
    await until(() => gated.now === 4)
    const second = await accept(core, operation, { tenant: 'small' })
    await until(async () => (await why(second))?.includes('which is its limit') === true)
    expect(await why(second)).toBe(
      `The operation ${operation.type} runs 1 tasks at once, which is its limit: it starts when one of them ends.`,
    )
    await accept(core, operation, { tenant: 'big' })
    await until(() => gated.now === 5)
    while (gated.pass()) await Promise.resolve()
    expect(await reached(core, first)).toMatchObject({ status: 'COMPLETED' })
    await until(() => gated.pass())
    expect(await reached(core, second)).toMatchObject({ status: 'COMPLETED', attempt: 1 })
  })

  test('the platform’s limit counts every tenant’s tasks, and a tenant’s own does not loosen it', async () => {
    const gated = gate()
    const operation = testOperation({ perform: gated.perform })
    const limit = { scope: 'operation', key: operation.type } as const
    await setLimit(platform(), { ...limit, maxRunning: 2, perMinute: null, burst: 1 })
    await setLimit(scope('big'), { ...limit, maxRunning: 100, perMinute: null, burst: 1 })
    await work(operation)
    const tasks: string[] = []
    for (const tenant of ['big', 'small', 'big', 'small']) tasks.push(await accept(core, operation, { tenant }))
    await until(async () => (await heldBack(tasks)).length === 2)
    // Not the platform's to take away, for a tenant.
    expect(await removeLimit(scope('big'), limit)).toBe(true)
    expect(await removeLimit(scope('big'), limit)).toBe(false)
    for (let ended = 0; ended < 4; ended++) await until(() => gated.pass())
    for (const task of tasks) expect(await reached(core, task)).toMatchObject({ status: 'COMPLETED' })
    expect(gated.most).toBe(2)
    expect(await removeLimit(platform(), limit)).toBe(true)
  })

  test('a cluster never has more tasks at once than its limit, whoever asked for them', async () => {
    const gated = gate()
    const operation = testOperation({ cluster: 'small', perform: gated.perform })
    const limit = { scope: 'cluster', key: 'small' } as const
    await setLimit(platform(), { ...limit, maxRunning: 2, perMinute: null, burst: 1 })
    await work(operation)
    await work(operation)
    const tasks: string[] = []
    for (const tenant of ['big', 'small', 'big', 'small', 'big']) tasks.push(await accept(core, operation, { tenant }))
    await until(async () => (await heldBack(tasks)).length === 3)
    expect((await heldBack(tasks))[0]).toBe(
      'The cluster small runs 2 tasks at once, which is its limit: it starts when one of them ends.',
    )
    for (let ended = 0; ended < 5; ended++) await until(() => gated.pass())
    for (const task of tasks) expect(await reached(core, task)).toMatchObject({ status: 'COMPLETED', attempt: 1 })
    expect(gated.most).toBe(2)
    expect(await removeLimit(platform(), limit)).toBe(true)
  })

  test('a rate limit starts so many per minute, in order', async () => {
    const starts: number[] = []
    const operation = testOperation({
      perform: async () => {
        starts.push(Date.now())
        return completed({})
      },
    })
    await setLimit(scope(), { scope: 'operation', key: operation.type, maxRunning: null, perMinute: 60, burst: 1 })
    await work(operation)
    const taskIds = await Promise.all(Array.from({ length: 3 }, () => accept(core, operation)))
    for (const taskId of taskIds) await reached(core, taskId)
    expect((starts[2] ?? 0) - (starts[0] ?? 0)).toBeGreaterThan(1_500)
  })

  test('with 10,000 tasks of one tenant queued, another tenant’s task takes the next free slot', async () => {
    const gated = gate()
    const operation = testOperation({ perform: gated.perform })
    const many = await acceptBatch(core, {
      items: Array.from({ length: 10_000 }, (_, i) => ({
        operation,
        input: { name: `big-${i}` },
        options: {},
        tenant: 'big',
        actor: 'requester',
      })),
      tenant: 'big',
      actor: 'requester',
      onError: 'continue',
    })
    await work(operation, 1)
    await until(() => gated.now === 1)
    await accept(core, operation, { tenant: 'small', input: { name: 'small-1' } })
    gated.pass()
    await until(() => gated.started.length === 2)
    expect(gated.started[1]).toBe('small-1')
    // And the big one's turn is next: fair, not favoured.
    await accept(core, operation, { tenant: 'small', input: { name: 'small-2' } })
    gated.pass()
    gated.pass()
    await until(() => gated.started.length === 3)
    expect(many.total).toBe(10_000)
    expect(
      await cancelMany(core, { tenant: 'big', actor: 'admin', filter: { operation: [operation.type] } }),
    ).toMatchObject({
      refused: [],
    })
    while (gated.pass()) await Promise.resolve()
  })

  test('higher priority runs first', async () => {
    const gated = gate()
    const operation = testOperation({ perform: gated.perform })
    await accept(core, operation, { input: { name: 'first' } })
    await work(operation, 1)
    await until(() => gated.now === 1)
    await accept(core, operation, { input: { name: 'low' }, options: { priority: -5 } })
    await accept(core, operation, { input: { name: 'normal' } })
    await accept(core, operation, { input: { name: 'high' }, options: { priority: 5 } })
    for (let i = 2; i <= 4; i++) {
      gated.pass()
      await until(() => gated.started.length === i)
    }
    gated.pass()
    expect(gated.started).toEqual(['first', 'high', 'normal', 'low'])
  })

  test('a batch runs no more items at once than it was asked to', async () => {
    const gated = gate()
    const operation = testOperation({ perform: gated.perform })
    await work(operation)
    await acceptBatch(core, {
      items: Array.from({ length: 5 }, () => ({
        operation,
        input: { name: randomUUID() },
        options: {},
        tenant: 'default',
        actor: 'requester',
      })),
      tenant: 'default',
      actor: 'requester',
      onError: 'continue',
      concurrency: 2,
    })
    await until(() => gated.now === 2)
    for (let ended = 0; ended < 5; ended++) await until(() => gated.pass())
    await until(() => gated.started.length === 5 && gated.now === 0)
    expect(gated.most).toBe(2)
  })
})

describe('pause and resume', () => {
  test('a paused operation starts nothing, in any process, until it is resumed', async () => {
    const operation = scripted()
    await pauseQueue(scope(), { operation: operation.type, reason: 'maintenance' })
    const child = await startWorkerProcess(core)
    stops.push(() => child.stop())
    const taskId = await accept(core, operation, { input: { name: randomUUID(), script: 'complete' } })
    await until(
      async () =>
        (await core.database.pool.query(`select from sluice.holds where task_id = $1`, [taskId])).rowCount === 1,
    )
    expect(await why(taskId)).toBe('Paused by admin: it starts when script.long is resumed for tenant default.')
    expect(await readTask(core, taskId)).toMatchObject({ status: 'PENDING', attempt: 0 })
    // Another tenant is not paused.
    const theirs = await accept(core, operation, { tenant: 'other', input: { name: randomUUID(), script: 'complete' } })
    expect(await reached(core, theirs)).toMatchObject({ status: 'COMPLETED' })
    await resumeQueue(scope(), operation.type)
    expect(await reached(core, taskId, { timeoutMs: 15_000 })).toMatchObject({ status: 'COMPLETED', attempt: 1 })
  })

  test('the platform’s pause holds every tenant, and no tenant takes it away', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    await pauseQueue(platform(), { operation: operation.type })
    await work(operation)
    const tasks = [await accept(core, operation), await accept(core, operation, { tenant: 'other' })]
    await until(
      async () =>
        (await core.database.pool.query(`select from sluice.holds where task_id = any($1)`, [tasks])).rowCount === 2,
    )
    expect(await resumeQueue(scope('other'), operation.type)).toBe(false)
    expect(await resumeQueue(platform(), operation.type)).toBe(true)
    for (const task of tasks) expect(await reached(core, task)).toMatchObject({ status: 'COMPLETED' })
    const { rows } = await core.database.pool.query(
      `select tenant_id, type, payload->'platform' as platform from sluice.domain_events
       where task_id is null and payload->>'operation' = $1 order by seq`,
      [operation.type],
    )
    expect(rows).toEqual([
      { tenant_id: 'platform', type: 'queue.paused', platform: true },
      { tenant_id: 'platform', type: 'queue.resumed', platform: true },
    ])
  })

  test('what is held is left alone: nobody takes its job again and again', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    const free = testOperation({ perform: async () => completed({}) })
    await pauseQueue(scope(), { operation: operation.type })
    const worker = await startWorker(core, [operation, free])
    stops.push(() => worker.stop(0))
    const taskId = await accept(core, operation)
    const job = async () =>
      (
        await core.database.pool.query<{ claims: number; later: boolean }>(
          `select retry_count as claims, start_after > now() + interval '5 minutes' as later from pgboss.job where id = $1`,
          [taskId],
        )
      ).rows[0]
    await until(async () => (await job())?.later === true)
    const before = await job()
    // Others come and go meanwhile, each of which looks for what is held.
    for (let i = 0; i < 5; i++) await reached(core, await accept(core, free))
    expect(await job()).toEqual(before)
    await resumeQueue(scope(), operation.type)
    expect(await reached(core, taskId, { timeoutMs: 15_000 })).toMatchObject({ status: 'COMPLETED', attempt: 1 })
  })

  test('a held task can be cancelled', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    await pauseQueue(scope(), { operation: operation.type })
    await work(operation)
    const taskId = await accept(core, operation)
    await until(
      async () =>
        (await core.database.pool.query(`select from sluice.holds where task_id = $1`, [taskId])).rowCount === 1,
    )
    await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
    expect(await readTask(core, taskId)).toMatchObject({ status: 'CANCELLED' })
  })
})

describe('the circuit breaker of a cluster', () => {
  test('opens after five failures in a row, for every process, and closes when the cluster answers', async () => {
    let away = true
    let runs = 0
    const operation = testOperation({
      cluster: 'far',
      retry: { backoff: { initialMs: 0, maxMs: 0 } },
      perform: async () => {
        runs++
        if (away) throw new TargetUnavailableError('no answer', { code: 'unreachable' })
        return completed({})
      },
    })
    await work(operation)
    const taskId = await accept(core, operation)
    await until(
      async () =>
        (await core.database.pool.query(`select from sluice.holds where task_id = $1`, [taskId])).rowCount === 1,
    )
    expect(runs).toBe(5)
    expect(await why(taskId)).toMatch(/^Cluster far has not answered lately and is left alone until /)
    away = false
    expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED' })
    expect((await core.database.pool.query('select from sluice.cluster_health')).rowCount).toBe(0)
  })

  test('is the database’s: a worker that has seen no failure leaves the cluster alone, too', async () => {
    let runs = 0
    const operation = testOperation({
      cluster: 'shared',
      retry: { backoff: { initialMs: 0, maxMs: 0 } },
      perform: async () => {
        runs++
        throw new TargetUnavailableError('no answer', { code: 'unreachable' })
      },
    })
    const isHeld = async (taskId: string) =>
      (await core.database.pool.query('select from sluice.holds where task_id = $1', [taskId])).rowCount === 1
    const first = await startWorker(core, [operation])
    const failing = await accept(core, operation)
    await until(() => isHeld(failing))
    await first.stop(0)
    const before = runs
    await work(operation)
    const other = await accept(core, operation)
    await until(() => isHeld(other))
    expect(await why(other)).toMatch(/^Cluster shared has not answered lately and is left alone until /)
    expect(runs).toBe(before)
    expect(await readTask(core, other)).toMatchObject({ status: 'PENDING', attempt: 0 })
    for (const taskId of [failing, other]) await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
    await core.database.pool.query(`delete from sluice.cluster_health`)
  })
})

describe('why_waiting', () => {
  test('says that no worker is alive, that none knows the operation, and the place in the queue', async () => {
    const fresh = await startCore()
    stops.push(() => fresh.stop())
    const operation = testOperation({ perform: () => new Promise(() => undefined) })
    const ask = async (taskId: string) => {
      const task = await readTask(fresh, taskId)
      return whyWaiting(task, (await explainTasks(fresh.database, 'default', [task])).get(taskId))
    }
    const first = await accept(fresh, operation)
    const second = await accept(fresh, operation)
    expect(await ask(first)).toMatch(/^No worker is alive/)
    const other = await startWorker(fresh, [testOperation({ class: 'short', perform: async () => completed({}) })], {
      slots: 1,
    })
    for (const id of [first, second]) await until(async () => (await readTask(fresh, id)).status === 'RETRYING')
    expect(await ask(first)).toMatch(/This worker does not know the operation/)
    await other.stop(0)
    const third = await accept(fresh, operation)
    await fresh.database.pool.query(
      `insert into sluice.workers (worker_id, role, version, slots, host, pid, operations) values ('busy', 'worker', '1', 1, 'h', 1, $1)`,
      [[operation.type]],
    )
    const waiting = [first, second, third]
    const statuses = await Promise.all(waiting.map(async (id) => (await readTask(fresh, id)).status))
    expect(statuses.at(-1)).toBe('PENDING')
    expect(await ask(third)).toBe('Next in the queue: a worker takes it as soon as one is free.')
    const fourth = await accept(fresh, operation)
    expect(await ask(fourth)).toBe('Queued, with 1 ahead: a worker takes it when one is free.')
  })

  test('explains a page of 200 tasks with 10,000 queued within a second', { timeout: 120_000 }, async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    const item = (i: number) => ({
      operation,
      input: { name: `q-${i}` },
      options: {},
      tenant: 'deep',
      actor: 'requester',
    })
    await acceptBatch(core, {
      items: Array.from({ length: 10_000 }, (_, i) => item(i)),
      tenant: 'deep',
      actor: 'requester',
      onError: 'continue',
    })
    const { rows } = await core.database.pool.query(
      'select * from sluice.tasks where tenant_id = $1 order by task_id desc limit 200',
      ['deep'],
    )
    await explainTasks(core.database, 'deep', rows)
    const explain = async () => {
      const began = performance.now()
      const explained = await explainTasks(core.database, 'deep', rows)
      expect(explained.size).toBe(200)
      return performance.now() - began
    }
    expect(await explain()).toBeLessThan(1_000)
  })
})
