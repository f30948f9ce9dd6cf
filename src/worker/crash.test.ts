import { describe, expect, test, type TestContext } from 'vitest'
import { randomUUID } from 'node:crypto'
import { type Core, startCore } from '../../test/helpers/core.ts'
import {
  accept,
  eventTypesOf,
  reached,
  readTask,
  scripted,
  startWorkerProcess,
  type WorkerProcess,
} from '../../test/helpers/worker.ts'
import { cancelTask } from '../tasks/cancel-task.ts'

/** A database of its own for each test: they run side by side, since each waits for heartbeats. */
async function start({ onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const core = await startCore()
  onTestFinished(() => core.stop())
  const worker = async (env: Readonly<Record<string, string>> = {}): Promise<WorkerProcess> => {
    const process = await startWorkerProcess(core, env)
    // Runs before the core stops: hooks of a test run last first.
    onTestFinished(() => process.stop())
    return process
  }
  return { core, worker }
}

const accepted = (core: Core, script: string, options: { timeout_ms?: number } = {}) =>
  accept(core, scripted(), { input: { name: randomUUID(), script }, options })

const timeout = 90_000

describe('crash rescue and fencing, on real processes', () => {
  test.concurrent(
    'kill -9: another worker has the task within 35 s, and it ends once',
    { timeout },
    async (context) => {
      const { core, worker } = await start(context)
      const first = await worker()
      const taskId = await accepted(core, 'hang once')
      await first.line('performs hang once 1')
      first.kill('SIGKILL')
      const killed = Date.now()
      const second = await worker()
      await second.line('performs hang once 2', 40_000)
      expect(Date.now() - killed).toBeLessThan(35_000)
      expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED', attempt: 2 })
      expect((await eventTypesOf(core, taskId)).filter((type) => type === 'completed')).toHaveLength(1)
    },
  )

  test.concurrent(
    'a worker that was paused past its heartbeat cannot write when it resumes',
    { timeout },
    async (context) => {
      const { core, worker } = await start(context)
      const first = await worker()
      const taskId = await accepted(core, 'hang once')
      await first.line('performs hang once 1')
      first.kill('SIGSTOP')
      const second = await worker()
      await second.line('performs hang once 2', 40_000)
      const ended = await reached(core, taskId)
      first.kill('SIGCONT')
      await first.line('aborted hang once 1', 20_000)
      expect(ended).toMatchObject({ status: 'COMPLETED', attempt: 2, result: { pid: second.child.pid } })
      expect(await readTask(core, taskId)).toEqual(ended)
    },
  )

  test.concurrent(
    'a worker that stands still inside its outcome transaction is rescued like a dead one',
    { timeout },
    async (context) => {
      const { core, worker } = await start(context)
      const first = await worker({ PAUSE_IN_SETTLE: '1' })
      const taskId = await accepted(core, 'complete')
      await first.line('pauses')
      const paused = Date.now()
      const others = await Promise.all([accepted(core, 'complete'), accepted(core, 'complete')])
      const second = await worker()
      for (const other of others) expect(await reached(core, other)).toMatchObject({ status: 'COMPLETED' })
      expect(await reached(core, taskId, { timeoutMs: 40_000 })).toMatchObject({
        status: 'COMPLETED',
        attempt: 2,
        result: { pid: second.child.pid },
      })
      // The engine's heartbeat, and nothing on top of it but the rescue's own interval.
      expect(Date.now() - paused).toBeLessThan(25_000)
      const { rows } = await core.database.pool.query(
        `select payload->>'attempt' as attempt from sluice.domain_events where task_id = $1 and type = 'task.completed'`,
        [taskId],
      )
      expect(rows).toEqual([{ attempt: '2' }])
    },
  )

  test.concurrent(
    'a task whose worker dies every time is a dead letter when its attempts are used up',
    { timeout: 120_000 },
    async (context) => {
      const { core, worker } = await start(context)
      const operation = { ...scripted(), retry: { ...scripted().retry, maxAttempts: 2 } }
      const taskId = await accept(core, operation, { input: { name: randomUUID(), script: 'crash' } })
      const crashing = await worker()
      await crashing.line('performs crash 1')
      await crashing.stop()
      const again = await worker()
      await again.line('performs crash 2', 40_000)
      await again.stop()
      await worker()
      expect(await reached(core, taskId, { timeoutMs: 40_000 })).toMatchObject({
        status: 'FAILED',
        dead_lettered: true,
        error: { code: 'worker_lost' },
      })
    },
  )

  test.concurrent('cancel reaches a worker in another process within a second', { timeout }, async (context) => {
    const { core, worker } = await start(context)
    const workers = [await worker(), await worker()]
    const taskId = await accepted(core, 'hang')
    await reached(core, taskId, { statuses: ['RUNNING'] })
    const asked = Date.now()
    await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
    await Promise.any(workers.map((one) => one.line('aborted hang 1', 5_000)))
    expect(Date.now() - asked).toBeLessThan(1_000)
    expect(await reached(core, taskId)).toMatchObject({ status: 'CANCELLED' })
  })

  test.concurrent(
    'a worker whose clock is an hour ahead, or behind, moves no deadline',
    { timeout },
    async (context) => {
      const { core, worker } = await start(context)
      for (const shift of ['3600000', '-3600000']) {
        const wrong = await worker({ CLOCK_SHIFT_MS: shift })
        const quick = await accepted(core, 'complete')
        const slow = await accepted(core, 'hang', { timeout_ms: 2_000 })
        expect(await reached(core, quick)).toMatchObject({ status: 'COMPLETED' })
        const task = await reached(core, slow)
        expect(task).toMatchObject({ status: 'TIMED_OUT' })
        const late = Number(task.completed_at) - Number(task.deadline_at)
        expect(Number(task.deadline_at) - Number(task.started_at)).toBe(2_000)
        expect(late).toBeGreaterThanOrEqual(0)
        expect(late).toBeLessThan(5_000)
        const { rows } = await core.database.pool.query('select clock_skew_ms from sluice.workers where pid = $1', [
          wrong.child.pid,
        ])
        expect(Math.abs(rows[0].clock_skew_ms - Number(shift))).toBeLessThan(2_000)
        await wrong.stop()
      }
    },
  )

  test.concurrent('SIGTERM: hands back unburned what does not end in time, and exits', { timeout }, async (context) => {
    const { core, worker } = await start(context)
    const first = await worker({ DRAIN_MS: '200' })
    const taskId = await accepted(core, 'hang once')
    await first.line('performs hang once 1')
    first.kill('SIGTERM')
    await first.line('stopped', 30_000)
    expect(await readTask(core, taskId)).toMatchObject({ status: 'RETRYING', handed_back: 1 })
    await worker()
    expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED' })
  })
})
