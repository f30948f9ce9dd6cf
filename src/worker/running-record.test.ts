import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { accept, reached, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { toWireId } from '../contract/ids.ts'
import { completed, type PerformContext, type ResourceRecord } from '../operations/define-operation.ts'
import { TransientError } from '../operations/errors.ts'
import { listResources } from '../tasks/find-resources.ts'
import { runningRecord } from './running-record.ts'

describe('a record that is written before the end of its task', () => {
  let core: Core
  beforeAll(async () => {
    core = await startCore()
  })
  afterAll(() => core.stop())

  const recordOf = (name: string): ResourceRecord => ({
    cluster: '',
    ref: { apiVersion: 'sluice.dev/v1', kind: 'Study', namespace: 'here', name },
    state: 'running',
    conditions: [],
    details: { far: 1 },
  })
  const records = async (name: string) => (await listResources(core.database, 'default', { name })).items
  const run = async (
    perform: (context: PerformContext) => Promise<unknown>,
    options: { readonly maxAttempts?: number; readonly timeoutMs?: number } = {},
  ) => {
    const { maxAttempts = 1, timeoutMs = 60_000 } = options
    const operation = testOperation({
      retry: { maxAttempts, backoff: { initialMs: 60_000 } },
      timeoutMs,
      perform: async (context) => {
        await perform(context)
        return completed({})
      },
    })
    const worker = await startWorker(core, [operation], { graceMs: 200 })
    const taskId = await accept(core, operation)
    const task = await reached(core, taskId)
    await worker.stop(0)
    return task
  }

  test('ends with it when its attempts are used up', async () => {
    const name = randomUUID()
    const task = await run(async ({ startRecord }) => {
      await startRecord(recordOf(name))
      expect(await records(name)).toMatchObject([{ state: 'running', details: { far: 1 } }])
      throw new TransientError('not today', { code: 'busy' })
    })
    expect(task).toMatchObject({ status: 'FAILED', dead_lettered: true })
    expect(await records(name)).toMatchObject([
      { state: 'failed', conditions: [{ type: 'Completed', status: 'False', reason: 'busy' }] },
    ])
  })

  test('ends with it when the upkeep finds its deadline passed between two attempts', async () => {
    const name = randomUUID()
    const task = await run(
      async ({ startRecord }) => {
        await startRecord(recordOf(name))
        throw new TransientError('later', { code: 'busy' })
      },
      { maxAttempts: 5, timeoutMs: 1_500 },
    )
    expect(task).toMatchObject({ status: 'TIMED_OUT' })
    expect(await records(name)).toMatchObject([{ state: 'timed_out', conditions: [{ reason: 'timed_out' }] }])
  })

  test('is refused to an attempt that was taken over, and nothing is written', async () => {
    const name = randomUUID()
    await run(async ({ taskId, tenant, attempt }) => {
      expect(attempt).toBe(1)
      const { rows } = await core.database.pool.query<{ task_id: string }>(
        `select task_id from sluice.tasks where status = 'RUNNING'`,
      )
      expect(rows).toHaveLength(1)
      const stale = { taskId: rows[0]?.task_id ?? '', tenant, attempt: 2, queue: 'sluice-long' as const }
      const job = { id: stale.taskId, claim: 0 }
      const { startRecord } = runningRecord({ database: core.database, workerId: taskId }, { ...stale, job })
      await expect(startRecord(recordOf(name))).rejects.toMatchObject({ code: 'SL002' })
    })
    expect(await records(name)).toEqual([])
  })

  test('is one task’s at a time, and free when that has ended', async () => {
    const name = randomUUID()
    const refused = Promise.withResolvers<unknown>()
    const holding = Promise.withResolvers<void>()
    const operation = testOperation({
      perform: async ({ startRecord, startedRecord, attempt }, { name: role }) => {
        if (role === 'first') {
          expect(await startedRecord()).toBeUndefined()
          await startRecord(recordOf(name))
          expect(await startedRecord()).toMatchObject({ ref: { name }, details: { far: 1 } })
          holding.resolve()
          await refused.promise
          return completed({})
        }
        await startRecord(recordOf(name)).catch((error: unknown) => {
          refused.resolve(error)
          throw error
        })
        return completed({ attempt })
      },
    })
    const worker = await startWorker(core, [operation])
    const first = await accept(core, operation, { input: { name: 'first' } })
    await holding.promise
    const second = await accept(core, operation, { input: { name: 'second' } })
    expect(await refused.promise).toMatchObject({ code: 'already_running', retryable: true, targetUnavailable: true })
    expect(await reached(core, first)).toMatchObject({ status: 'COMPLETED' })
    // It did not count as one of its attempts.
    expect(await reached(core, second)).toMatchObject({ status: 'COMPLETED', handed_back: 1 })
    await worker.stop(0)
    expect(await records(name)).toMatchObject([
      { task_id: toWireId('task', second), state: 'completed', conditions: [{ type: 'Completed', status: 'True' }] },
    ])
  })
})
