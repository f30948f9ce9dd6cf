import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import { accept, reached, readTask, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { completed, type Operation } from '../operations/define-operation.ts'
import { PermanentError, TransientError } from '../operations/errors.ts'
import { cancelMany } from './act-on-many.ts'
import { acceptBatch } from './batch.ts'
import { cancelTask } from './cancel-task.ts'
import { pauseQueue, removeLimit, resumeQueue, setLimit } from './queues.ts'
import { explainTasks, whyWaiting } from './why-waiting.ts'

// Tickets: src/http/routes/approvals.test.ts · objects that are not ready: src/worker/durable-waits.test.ts · limits of
// tenants, operations and clusters, and clusters that are away: limits.test.ts.

let core: Core
const stops: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  core = await startCore()
})
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
  // Nothing of one test stands in the queue of the next.
  await cancelMany(core, { tenant: 'default', actor: 'admin', filter: { status: ['SCHEDULED', 'PENDING'] } })
})
afterAll(() => core.stop())

const work = async (...operations: Operation[]) => {
  const worker = await startWorker(core, operations, { slots: 1 })
  stops.push(() => worker.stop(0))
}
const scope = () => ({ database: core.database, tenant: 'default', actor: 'admin' })
const why = async (taskId: string) => {
  const task = await readTask(core, taskId)
  return whyWaiting(task, (await explainTasks(core.database, task.tenant_id, [task])).get(taskId))
}
const says = async (taskId: string, sentence: RegExp) => {
  await until(async () => sentence.test((await why(taskId)) ?? ''))
}
const isHeld = async (taskId: string) =>
  (await core.database.pool.query('select from sluice.holds where task_id = $1', [taskId])).rowCount === 1

const quick = () => testOperation({ perform: async () => completed({}) })
/** Runs until its signal fires. */
const endless = () =>
  testOperation({
    perform: ({ signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  })

describe('why_waiting says what keeps a task from its end', () => {
  test('its start time; once that has passed, what a queued one waits for', async () => {
    const operation = quick()
    const start_at = new Date(Date.now() + 3_600_000).toISOString()
    const taskId = await accept(core, operation, { options: { start_at } })
    expect(await why(taskId)).toBe(`Scheduled to start at ${start_at}.`)
    const soon = await accept(core, operation, { options: { start_at: new Date(Date.now() + 50).toISOString() } })
    await says(soon, /^No worker is alive/)
  })

  test('a pause, before and after a worker has met it, and nothing once it is over', async () => {
    const operation = quick()
    await pauseQueue(scope(), { operation: operation.type })
    const taskId = await accept(core, operation)
    const paused = `Paused by admin: it starts when ${operation.type} is resumed for tenant default.`
    expect(await why(taskId)).toBe(paused)
    await work(operation)
    await until(() => isHeld(taskId))
    expect(await why(taskId)).toBe(paused)
    await resumeQueue(scope(), operation.type)
    await reached(core, taskId)
    expect(await why(taskId)).toBeNull()
  })

  test('a rate, with its turn', async () => {
    const operation = quick()
    const limit = { scope: 'operation', key: operation.type } as const
    await setLimit(scope(), { ...limit, maxRunning: null, perMinute: 1, burst: 1 })
    stops.push(() => removeLimit(scope(), limit))
    await work(operation)
    await reached(core, await accept(core, operation))
    const taskId = await accept(core, operation)
    await says(
      taskId,
      new RegExp(
        `^The operation ${operation.type} starts only so many tasks per minute: this one's turn is at \\d{4}-`,
      ),
    )
  })

  test('its batch: as many run as it may, or one failed and the rest ends', async () => {
    const operation = endless()
    const failing = testOperation({
      perform: async () => {
        throw new PermanentError('no', { code: 'no' })
      },
    })
    const item = (of: Operation) => ({
      operation: of,
      input: { name: randomUUID() },
      options: {},
      tenant: 'default',
      actor: 'requester',
    })
    const batch = (items: Operation[], onError: 'continue' | 'stop') =>
      acceptBatch(core, { items: items.map(item), tenant: 'default', actor: 'requester', onError, concurrency: 1 })
    const itemsOf = async (batchId: string) => {
      const { rows } = await core.database.pool.query<{ id: string; status: string }>(
        'select task_id as id, status from sluice.tasks where batch_id = $1 order by task_id',
        [batchId],
      )
      return rows
    }
    const workers = [await startWorker(core, [operation, failing]), await startWorker(core, [operation, failing])]
    stops.push(...workers.map((worker) => () => worker.stop(0)))
    const { batch_id } = await batch([operation, operation], 'continue')
    await until(async () => (await itemsOf(batch_id)).some(({ status }) => status === 'RUNNING'))
    const second = (await itemsOf(batch_id)).find(({ status }) => status === 'PENDING')
    await says(second?.id ?? '', /^Its batch runs 1 items at once: it starts when one of them ends\.$/)

    const { batch_id: stopping } = await batch([failing, operation], 'stop')
    // Seen between the failure and the cancel of the rest, which is a second later at most.
    const [, rest] = await itemsOf(stopping)
    await core.database.pool.query(`update sluice.batches set concurrency = null where batch_id = $1`, [stopping])
    await until(async () => {
      const task = await readTask(core, rest?.id ?? '')
      return (
        task.status !== 'PENDING' || (await why(rest?.id ?? ''))?.startsWith('An item of its batch failed') === true
      )
    })
    expect(await reached(core, rest?.id ?? '')).toMatchObject({ status: 'CANCELLED' })
  })

  test('its place in the queue, as far as that is worth counting', { timeout: 60_000 }, async () => {
    const operation = endless()
    await work(operation)
    await reached(core, await accept(core, operation), { statuses: ['RUNNING'] })
    const first = await accept(core, operation)
    expect(await why(first)).toBe('Next in the queue: a worker takes it as soon as one is free.')
    const items = Array.from({ length: 1_000 }, () => ({
      operation,
      input: { name: randomUUID() },
      options: {},
      tenant: 'default',
      actor: 'requester',
    }))
    await acceptBatch(core, { items, tenant: 'default', actor: 'requester', onError: 'continue' })
    expect(await why(await accept(core, operation))).toBe(
      'Queued, with more than a thousand ahead: a worker takes it when one is free.',
    )
  })

  test('a cancel that it has been told of; a running task waits for nothing', async () => {
    const deaf = testOperation({ perform: () => new Promise(() => undefined) })
    await work(deaf)
    const taskId = await accept(core, deaf)
    await reached(core, taskId, { statuses: ['RUNNING'] })
    expect(await why(taskId)).toBeNull()
    await cancelTask(core, { tenant: 'default', taskId, actor: 'rita' })
    expect(await why(taskId)).toBe('Cancelling, as rita asked; the operation is ending.')
  })

  test('its next attempt and the error of the last one; that no worker is alive to make it', async () => {
    const operation = testOperation({
      retry: { maxAttempts: 3, backoff: { initialMs: 60_000, maxMs: 60_000 } },
      perform: async () => {
        throw new TransientError('The disk is full.', { code: 'full' })
      },
    })
    const worker = await startWorker(core, [operation])
    const taskId = await accept(core, operation)
    await reached(core, taskId, { statuses: ['RETRYING'] })
    expect(await why(taskId)).toMatch(/^Attempt 1 of 3 failed; the next one starts at \d{4}-\S+Z: The disk is full\.$/)
    await worker.stop(0)
    expect(await why(taskId)).toMatch(/^No worker is alive/)
  })
})
