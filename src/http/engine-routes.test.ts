import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { until } from '../../test/helpers/until.ts'
import { testOperation } from '../../test/helpers/worker.ts'
import { createClient } from '../client/create-client.ts'
import { type RunningSluice, startSluice } from '../main.ts'
import { completed } from '../operations/define-operation.ts'
import { TransientError } from '../operations/errors.ts'
import { productVersion } from '../platform/product-version.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'

const devTokens = { requester: 'r'.repeat(43), approver: 'a'.repeat(43), admin: 'd'.repeat(43) }
const broken = new Set<string>()
const operation = testOperation({
  type: 'test.work',
  retry: { maxAttempts: 1 },
  perform: async (_context, { name }) => {
    if (broken.has(name)) throw new TransientError('broken', { code: 'broken' })
    return completed({ name })
  },
})

let sluice: RunningSluice
beforeAll(async () => {
  const { url } = await createTestDatabase()
  sluice = await startSluice({
    databaseUrl: url,
    port: 0,
    poolMax: 10,
    devTokens,
    operations: [operation],
    logger: createMemoryLogger(),
  })
})
afterAll(() => sluice.stop())

const as = (principal: keyof typeof devTokens) => createClient({ baseUrl: sluice.url, token: devTokens[principal] })
const item = (name: string = randomUUID()) => ({ operation: 'test.work', input: { name } })
const failed = async () => {
  const name = randomUUID()
  broken.add(name)
  const { task_id } = await as('requester').submit('test.work', { name })
  await as('requester').waitForTask(task_id)
  broken.delete(name)
  return task_id
}

describe('retry and dead letters over HTTP', () => {
  test('a failed task is tried again; one that succeeded is not', async () => {
    const taskId = await failed()
    const again = await as('requester').retryTask(taskId)
    expect(await as('requester').waitForTask(again.task_id)).toMatchObject({ status: 'COMPLETED', retry_of: taskId })
    await expect(as('requester').retryTask(again.task_id)).rejects.toMatchObject({
      problem: { status: 409, code: 'not_retryable' },
    })
  })

  test('dead letters are listed, counted and replayed', async () => {
    const taskId = await failed()
    const { items } = await as('requester').deadLetters()
    expect(items.map(({ task_id }) => task_id)).toContain(taskId)
    const filter = { task_ids: [taskId] }
    expect(await as('approver').replayDeadLetters(filter, { dryRun: true })).toMatchObject({ matched: 0 })
    expect(await as('requester').replayDeadLetters(filter, { dryRun: true })).toMatchObject({
      matched: 1,
      done: 0,
      dry_run: true,
    })
    expect(await as('requester').replayDeadLetters(filter)).toMatchObject({ matched: 1, done: 1 })
  })
})

describe('bulk over HTTP', () => {
  test('a batch runs to its end, and its failed items again', async () => {
    const bad = randomUUID()
    broken.add(bad)
    const batch = await as('requester').submitBatch({ items: [item(), item(bad), item()] })
    expect(batch).toMatchObject({ status: 'PENDING', total: 3 })
    await until(async () => (await as('requester').getBatch(batch.batch_id)).completed_at !== null)
    expect(await as('requester').getBatch(batch.batch_id)).toMatchObject({
      status: 'PARTIALLY_COMPLETED',
      counts: { COMPLETED: 2, FAILED: 1 },
    })
    broken.delete(bad)
    const again = await as('requester').retryBatch(batch.batch_id)
    expect(again).toMatchObject({ total: 1, retry_of: batch.batch_id })
    await until(async () => (await as('requester').getBatch(again.batch_id)).status === 'COMPLETED')
    await expect(as('approver').cancelBatch(batch.batch_id)).rejects.toMatchObject({ problem: { status: 403 } })
    expect((await as('requester').listBatches()).map(({ batch_id }) => batch_id)).toEqual([
      again.batch_id,
      batch.batch_id,
    ])
  })

  test('every wrong item is named, and nothing is written', async () => {
    const before = (await as('admin').listBatches()).length
    const items = [item(), { operation: 'test.work', input: { nam: 'x' } }, { operation: 'test.unknown', input: {} }]
    const refused = as('requester').submitBatch({ items })
    await expect(refused).rejects.toMatchObject({ problem: { status: 422, code: 'batch_refused' } })
    const pointers = await refused.catch((error: { problem: { errors: { pointer: string }[] } }) => error)
    expect('problem' in pointers ? pointers.problem.errors.map(({ pointer }) => pointer) : []).toEqual(
      expect.arrayContaining(['/items/1/input/name', '/items/2/operation']),
    )
    expect((await as('admin').listBatches()).length).toBe(before)
  })

  test('one item, or one byte, more than a batch may have, and nothing is written', async () => {
    const before = (await as('admin').listBatches()).length
    const send = async (body: string) => {
      const headers = { authorization: `Bearer ${devTokens.requester}`, 'content-type': 'application/json' }
      return (await fetch(`${sluice.url}/api/v1/tasks/bulk`, { method: 'POST', headers, body })).status
    }
    expect(await send(JSON.stringify({ items: Array.from({ length: 10_001 }, (_, i) => item(`n${i}`)) }))).toBe(422)
    expect(await send(JSON.stringify({ items: [item()] }).padEnd(16 * 1024 * 1024 + 1))).toBe(413)
    expect(await send(JSON.stringify({ items: [] }))).toBe(422)
    expect((await as('admin').listBatches()).length).toBe(before)
  })
})

describe('queues and workers over HTTP', () => {
  test('pause holds tasks with a reason, resume lets them go, cancel by filter ends them', async () => {
    await expect(as('requester').pauseQueue({ operation: 'test.work' })).rejects.toMatchObject({
      problem: { status: 403 },
    })
    await as('admin').pauseQueue({ operation: 'test.work', reason: 'maintenance' })
    const { task_id } = await as('requester').submit('test.work', { name: randomUUID() })
    await until(async () => (await as('requester').queues()).items.some(({ held }) => held === 1))
    expect((await as('requester').getTask(task_id)).why_waiting).toMatch(/^Paused by admin/)
    expect((await as('requester').listTasks({ status: 'PENDING' })).items[0]?.why_waiting).toMatch(/^Paused by admin/)
    const other = await as('requester').submit('test.work', { name: 'to-cancel' }, { task: { labels: { end: 'yes' } } })
    expect(await as('requester').cancelTasks({ label: ['end=yes'] }, { dryRun: true })).toMatchObject({
      matched: 1,
      done: 0,
    })
    expect(await as('requester').cancelTasks({ label: ['end=yes'] })).toMatchObject({ matched: 1, done: 1 })
    expect(await as('requester').getTask(other.task_id)).toMatchObject({ status: 'CANCELLED' })
    await as('admin').resumeQueue('test.work')
    expect(await as('requester').waitForTask(task_id)).toMatchObject({ status: 'COMPLETED' })
  })

  test('limits are an admin’s, of the own tenant only', async () => {
    expect(await as('admin').setLimit('tenant', 'default', { max_running: 5 })).toMatchObject({
      max_running: 5,
      set_by: 'admin',
    })
    expect((await as('requester').queues()).limits).toHaveLength(1)
    await expect(as('admin').setLimit('tenant', 'other', { max_running: 5 })).rejects.toMatchObject({
      problem: { status: 404 },
    })
    await as('admin').removeLimit('tenant', 'default')
    expect((await as('requester').queues()).limits).toHaveLength(0)
  })

  test('the worker of this process is in the registry', async () => {
    expect(await as('requester').workers()).toMatchObject([
      {
        role: 'all',
        version: productVersion,
        slots: 10,
        alive: true,
        pid: process.pid,
        operations: expect.arrayContaining(['test.work']),
      },
    ])
  })
})

describe('schedules over HTTP', () => {
  test('made, run now, paused, resumed and deleted', async () => {
    const client = as('requester')
    const made = await client.createSchedule({
      name: 'nightly',
      ...item(),
      cron: '0 2 * * *',
      time_zone: 'Europe/Berlin',
    })
    expect(made).toMatchObject({ owner: 'requester', paused: false, missed: 'skip', overlap: 'skip' })
    const now = await client.runSchedule(made.schedule_id)
    expect(await client.waitForTask(now.task_id)).toMatchObject({ status: 'COMPLETED', schedule_id: made.schedule_id })
    expect(await client.pauseSchedule(made.schedule_id)).toMatchObject({ paused: true, next_run_at: null })
    expect(await client.resumeSchedule(made.schedule_id)).toMatchObject({
      paused: false,
      next_run_at: made.next_run_at,
    })
    await expect(as('approver').deleteSchedule(made.schedule_id)).rejects.toMatchObject({ problem: { status: 403 } })
    await client.deleteSchedule(made.schedule_id)
    expect(await client.schedules()).toEqual([])
    await expect(client.createSchedule({ name: 'x', ...item(), cron: 'never' })).rejects.toMatchObject({
      problem: { status: 422, code: 'invalid_schedule' },
    })
  })
})
