import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import { accept, eventTypesOf, reached, readTask, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { completed, type Operation } from '../operations/define-operation.ts'
import { PermanentError, TargetUnavailableError, TransientError } from '../operations/errors.ts'
import { cancelTask } from '../tasks/cancel-task.ts'
import type { WorkerOptions } from './worker.ts'

let core: Core
const stops: (() => Promise<void>)[] = []
beforeAll(async () => {
  core = await startCore()
})
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})
afterAll(() => core.stop())

const work = async (operation: Operation, options: Partial<WorkerOptions> = {}) => {
  const worker = await startWorker(core, [operation], options)
  stops.push(() => worker.stop(0))
  return worker
}
const forever = () => new Promise<never>(() => undefined)

/** Ends when its signal fires, as an operation should. */
const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

describe('timeouts: one deadline from the first start', () => {
  test('the signal fires at the deadline, and the task is TIMED_OUT', async () => {
    const reasons: unknown[] = []
    const operation = testOperation({
      perform: ({ signal }) => {
        signal.addEventListener('abort', () => reasons.push(signal.reason.why))
        return untilAborted(signal)
      },
    })
    await work(operation)
    const task = await reached(core, await accept(core, operation, { options: { timeout_ms: 1_000 } }))
    expect(task).toMatchObject({ status: 'TIMED_OUT', error: { code: 'timed_out' } })
    expect(reasons).toEqual(['deadline'])
    expect(Number(task.completed_at) - Number(task.started_at)).toBeLessThan(2_500)
  })

  test('a handler that ignores its signal is settled without, and its slot is free after the grace period', async () => {
    let deaf = 0
    const operation = testOperation({
      perform: async (_context, { name }) => {
        if (name !== 'deaf') return completed({})
        deaf++
        return forever()
      },
    })
    const { logger } = await work(operation, { slots: 1, graceMs: 300 })
    const stuck = await accept(core, operation, { input: { name: 'deaf' }, options: { timeout_ms: 1_000 } })
    await reached(core, stuck, { statuses: ['RUNNING'] })
    const next = await accept(core, operation)
    expect(await reached(core, stuck)).toMatchObject({
      status: 'TIMED_OUT',
      error: { detail: expect.stringMatching(/The operation ignored its signal, and was left behind 0\.3 s later\.$/) },
    })
    expect(await reached(core, next)).toMatchObject({ status: 'COMPLETED' })
    expect(deaf).toBe(1)
    expect(logger.lines.some(({ message }) => message.startsWith('handler ignored its signal'))).toBe(true)
  })

  test('the deadline covers the time between attempts', async () => {
    const operation = testOperation({
      retry: { backoff: { initialMs: 60_000 } },
      perform: async () => {
        throw new TransientError('not now', { code: 'busy' })
      },
    })
    await work(operation)
    const task = await reached(core, await accept(core, operation, { options: { timeout_ms: 1_000 } }))
    expect(task).toMatchObject({ status: 'TIMED_OUT', attempt: 1 })
  })

  test('a deadline that passed while no worker was alive ends the task within 10 s after one returns', async () => {
    const operation = testOperation({ perform: forever })
    const first = await startWorker(core, [operation], { graceMs: 0 })
    const taskId = await accept(core, operation, { options: { timeout_ms: 3_000 } })
    await reached(core, taskId, { statuses: ['RUNNING'] })
    await first.stop(0)
    expect(await readTask(core, taskId)).toMatchObject({ status: 'RETRYING' })
    const { deadline_at: deadline } = await readTask(core, taskId)
    await until(() => Date.now() > Number(deadline))
    const returned = Date.now()
    await work(operation)
    expect(await reached(core, taskId)).toMatchObject({ status: 'TIMED_OUT' })
    expect(Date.now() - returned).toBeLessThan(10_000)
  })
})

describe('retries', () => {
  test('a transient error comes back after the operation’s backoff, which next_attempt_at shows', async () => {
    let runs = 0
    const operation = testOperation({
      retry: { backoff: { initialMs: 1_000, factor: 2 } },
      perform: async () => {
        if (++runs < 2) throw new TransientError('busy', { code: 'busy' })
        return completed({ runs })
      },
    })
    await work(operation, { random: () => 0.5 })
    const taskId = await accept(core, operation)
    const waiting = await reached(core, taskId, { statuses: ['RETRYING'] })
    const { rows } = await core.database.pool.query(
      `select payload->>'retry_in_ms' as wait from sluice.domain_events where task_id = $1 and type = 'task.retrying'`,
      [taskId],
    )
    expect(rows).toEqual([{ wait: '1250' }])
    expect(waiting.next_attempt_at).toBeInstanceOf(Date)
    const task = await reached(core, taskId)
    expect(task).toMatchObject({ status: 'COMPLETED', attempt: 2, next_attempt_at: null, result: { runs: 2 } })
    expect(Number(task.completed_at)).toBeGreaterThanOrEqual(Number(waiting.next_attempt_at))
  })

  test('a permanent error ends the task at once, not as a dead letter', async () => {
    const operation = testOperation({
      perform: async () => {
        throw new PermanentError('never', { code: 'nonsense' })
      },
    })
    await work(operation)
    const task = await reached(core, await accept(core, operation))
    expect(task).toMatchObject({ status: 'FAILED', attempt: 1, dead_lettered: false, error: { code: 'nonsense' } })
  })

  test('attempts used up: FAILED, and a dead letter', async () => {
    const operation = testOperation({
      retry: { maxAttempts: 3, backoff: { initialMs: 0, maxMs: 0 } },
      perform: async () => {
        throw new TransientError('again', { code: 'busy' })
      },
    })
    await work(operation)
    const taskId = await accept(core, operation)
    expect(await reached(core, taskId)).toMatchObject({ status: 'FAILED', attempt: 3, dead_lettered: true })
    const { rows } = await core.database.pool.query(
      `select state from pgboss.job where id = $1 and name = 'sluice-long'`,
      [taskId],
    )
    expect(rows).toEqual([{ state: 'failed' }])
  })

  test('a target that cannot be reached burns no attempt within its budget', async () => {
    let runs = 0
    const operation = testOperation({
      retry: { maxAttempts: 2, backoff: { initialMs: 0, maxMs: 0 } },
      perform: async () => {
        if (++runs <= 6) throw new TargetUnavailableError('away', { code: 'unreachable' })
        return completed({})
      },
    })
    await work(operation)
    const task = await reached(core, await accept(core, operation))
    expect(task).toMatchObject({ status: 'COMPLETED', attempt: 7, handed_back: 6 })
  })

  test('beyond its budget a target that cannot be reached burns attempts', async () => {
    const operation = testOperation({
      retry: { maxAttempts: 2, unavailableMs: 0, backoff: { initialMs: 0, maxMs: 0 } },
      perform: async () => {
        throw new TargetUnavailableError('away', { code: 'unreachable' })
      },
    })
    await work(operation)
    expect(await reached(core, await accept(core, operation))).toMatchObject({ status: 'FAILED', dead_lettered: true })
  })

  test('unburned runs do not use up the attempts that follow, also by the engine’s own count', async () => {
    let runs = 0
    const operation = testOperation({
      retry: { maxAttempts: 2, backoff: { initialMs: 0, maxMs: 0 } },
      perform: async () => {
        if (++runs <= 3) throw new TargetUnavailableError('away', { code: 'unreachable' })
        if (runs === 4) throw new TransientError('busy', { code: 'busy' })
        return completed({ runs })
      },
    })
    await work(operation)
    expect(await reached(core, await accept(core, operation))).toMatchObject({
      status: 'COMPLETED',
      result: { runs: 5 },
    })
  })

  test('an operation that this worker does not know waits for one that does', async () => {
    const unknown = testOperation({ type: 'test.from-the-future', perform: async () => completed({}) })
    const old = await startWorker(core, [testOperation({ perform: async () => completed({}) })])
    const taskId = await accept(core, unknown)
    const snoozed = await reached(core, taskId, { statuses: ['RETRYING'] })
    expect(snoozed).toMatchObject({ handed_back: 1, error: { code: 'unknown_operation' } })
    await old.stop(0)
    await work(unknown)
    expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED' })
  })
})

describe('cancel', () => {
  const cancel = (taskId: string) => cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })

  test('queued: at once, without a worker, and its job is gone', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    const taskId = await accept(core, operation)
    expect(await cancel(taskId)).toMatchObject({ kind: 'cancelled' })
    expect(await readTask(core, taskId)).toMatchObject({ status: 'CANCELLED', started_at: null })
    const { rows } = await core.database.pool.query('select state from pgboss.job where id = $1', [taskId])
    expect(rows).toEqual([{ state: 'cancelled' }])
  })

  test('scheduled: at once', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    const start_at = new Date(Date.now() + 3_600_000).toISOString()
    const taskId = await accept(core, operation, { options: { start_at } })
    expect(await readTask(core, taskId)).toMatchObject({ status: 'SCHEDULED' })
    await cancel(taskId)
    expect(await readTask(core, taskId)).toMatchObject({ status: 'CANCELLED' })
  })

  test('running: the signal fires within a second; again changes nothing', async () => {
    let firedAt = 0
    const operation = testOperation({
      perform: ({ signal }) => {
        signal.addEventListener('abort', () => (firedAt = Date.now()))
        return untilAborted(signal)
      },
    })
    await work(operation)
    const taskId = await accept(core, operation)
    await reached(core, taskId, { statuses: ['RUNNING'] })
    const asked = Date.now()
    await cancel(taskId)
    await cancel(taskId)
    expect(await reached(core, taskId)).toMatchObject({ status: 'CANCELLED', error: { code: 'cancelled' } })
    expect(firedAt - asked).toBeLessThan(1_000)
    expect(await cancel(taskId)).toMatchObject({ kind: 'cancelled' })
    expect(await eventTypesOf(core, taskId)).toEqual(['requested', 'started', 'cancel_requested', 'cancelled'])
  })

  test('running, and deaf: CANCELLED within the grace period, and what it brings later is not written', async () => {
    let wake = (): void => undefined
    const operation = testOperation({
      perform: async () => {
        await new Promise<void>((resolve) => (wake = resolve))
        return completed({ late: true })
      },
    })
    await work(operation, { graceMs: 500 })
    const taskId = await accept(core, operation)
    await reached(core, taskId, { statuses: ['RUNNING'] })
    const asked = Date.now()
    await cancel(taskId)
    const ended = await reached(core, taskId)
    expect(ended).toMatchObject({
      status: 'CANCELLED',
      error: { detail: expect.stringMatching(/^Cancelled by requester while it ran\..*ignored its signal/) },
    })
    expect(Number(ended.completed_at) - asked).toBeLessThan(2_000)
    wake()
    // The slot is free, and by now the worker has heard what the deaf one had to say.
    const next = await accept(core, operation)
    await reached(core, next, { statuses: ['RUNNING'] })
    expect(await readTask(core, taskId)).toEqual(ended)
    wake()
  })

  test('between attempts: ended by a worker, and it does not run again', async () => {
    const operation = testOperation({
      retry: { backoff: { initialMs: 60_000 } },
      perform: async () => {
        throw new TransientError('busy', { code: 'busy' })
      },
    })
    await work(operation)
    const taskId = await accept(core, operation)
    await reached(core, taskId, { statuses: ['RETRYING'] })
    await cancel(taskId)
    expect(await reached(core, taskId, { timeoutMs: 15_000 })).toMatchObject({ status: 'CANCELLED', attempt: 1 })
  })

  test('too late: what ended otherwise stays as it is', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    await work(operation)
    const taskId = await accept(core, operation)
    await reached(core, taskId)
    expect(await cancel(taskId)).toMatchObject({ kind: 'ended' })
  })
})

describe('drain', () => {
  test('short work ends; what does not is handed back unburned, for the next worker', async () => {
    const operation = testOperation({
      retry: { maxAttempts: 1 },
      perform: ({ attempt, signal }) =>
        attempt === 1 ? untilAborted(signal) : Promise.resolve(completed({ attempt })),
    })
    const first = await startWorker(core, [operation])
    const taskId = await accept(core, operation)
    await reached(core, taskId, { statuses: ['RUNNING'] })
    await first.stop(100)
    expect(await readTask(core, taskId)).toMatchObject({
      status: 'RETRYING',
      handed_back: 1,
      error: { code: 'handed_back' },
    })
    await work(operation)
    expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED', result: { attempt: 2 } })
  })
})

describe('progress', () => {
  test('a flood is coalesced to four a second, and the last report is not lost', async () => {
    const operation = testOperation({
      perform: async ({ report }) => {
        for (let done = 1; done <= 1_000; done++) {
          report({ done, total: 1_000 })
          await new Promise((resolve) => setTimeout(resolve, 2))
        }
        return completed({})
      },
    })
    await work(operation)
    const taskId = await accept(core, operation)
    const task = await reached(core, taskId)
    const { rows } = await core.database.pool.query<{ at: Date; done: number }>(
      `select at, (payload #>> '{progress,done}')::int as done from sluice.domain_events
       where task_id = $1 and type = 'task.progress' order by seq`,
      [taskId],
    )
    expect(rows.length).toBeGreaterThan(4)
    // In no second more than four: the fifth from any one on comes a second later, or is none.
    rows.forEach(({ at }, i) => expect(Number(rows[i + 4]?.at ?? Infinity) - Number(at)).toBeGreaterThanOrEqual(1_000))
    expect(rows.map(({ done }) => done)).toEqual(rows.map(({ done }) => done).toSorted((a, b) => a - b))
    expect(task.progress).toEqual({ done: 1_000, total: 1_000, message: null })
  })
})

describe('the log fences what a stale attempt writes', () => {
  test('an attempt that was taken over writes nothing', async () => {
    const operation = testOperation({ perform: async () => completed({}) })
    const taskId = await accept(core, operation)
    const write = (type: string, payload: object) =>
      core.database.transaction({ role: 'sluice_worker' }, (tx) =>
        sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
          values (${taskId}::uuid, 'default', ${type}, 'w', ${JSON.stringify(payload)}::jsonb)`.execute(tx),
      )
    await write('task.started', { claim: 0 })
    await write('task.started', { claim: 1 })
    await expect(write('task.started', { claim: 1 })).rejects.toMatchObject({ code: 'SL002' })
    await expect(write('task.completed', { attempt: 1 })).rejects.toMatchObject({ code: 'SL002' })
    await expect(write('task.progress', { attempt: 1 })).rejects.toMatchObject({ code: 'SL002' })
    await expect(write('task.completed', {})).rejects.toMatchObject({ code: 'SL002' })
    await write('task.completed', { attempt: 2, result: {} })
    await expect(write('task.failed', { attempt: 2 })).rejects.toMatchObject({ code: 'SL001' })
  })
})
