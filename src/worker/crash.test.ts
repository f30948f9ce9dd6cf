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
import type { TaskOptions } from '../contract/task.ts'
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

const accepted = (core: Core, script: string, options: TaskOptions = {}) =>
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

  test.concurrent.for([
    ['ahead', 3_600_000],
    ['behind', -3_600_000],
  ] as const)(
    'one of two workers has a clock that is an hour %s: no deadline and no start moves',
    { timeout },
    async ([, shift], context) => {
      const { core, worker } = await start(context)
      const wrong = await worker({ CLOCK_SHIFT_MS: String(shift) })
      await worker()
      const timeout_ms = 3_000
      const start_at = new Date(Date.now() + 4_000).toISOString()
      const many = (script: string, options: TaskOptions) =>
        Promise.all(Array.from({ length: 8 }, () => accepted(core, script, options)))
      const hanging = await many('hang', { timeout_ms })
      // Ended at its deadline between two attempts, which is the upkeep of whichever worker looks first.
      const busy = await many('busy', { timeout_ms })
      const later = await many('complete', { start_at })
      for (const taskId of [...hanging, ...busy]) {
        const task = await reached(core, taskId)
        expect(task).toMatchObject({ status: 'TIMED_OUT' })
        expect(Number(task.deadline_at) - Number(task.started_at)).toBe(timeout_ms)
        const late = Number(task.completed_at) - Number(task.deadline_at)
        expect(late).toBeGreaterThanOrEqual(0)
        expect(late).toBeLessThan(8_000)
      }
      for (const taskId of later) {
        const task = await reached(core, taskId)
        expect(task).toMatchObject({ status: 'COMPLETED' })
        const late = Number(task.started_at) - Date.parse(start_at)
        expect(late).toBeGreaterThanOrEqual(0)
        expect(late).toBeLessThan(8_000)
      }
      const { rows } = await core.database.pool.query<{ pid: number; skew: number; started: number }>(
        `select pid, clock_skew_ms as skew, (select count(*)::int from sluice.domain_events e
           where e.type = 'task.started' and e.actor = w.worker_id) as started from sluice.workers w`,
      )
      // Both had their share, and the registry tells which of them is wrong.
      for (const { pid, skew, started } of rows) {
        expect(started).toBeGreaterThan(0)
        expect(Math.abs(skew - (pid === wrong.child.pid ? shift : 0))).toBeLessThan(2_000)
      }
      expect(rows).toHaveLength(2)
    },
  )

  test.concurrent(
    'SIGTERM with a handler that hears nothing: takes nothing more, hands it back unburned, and exits within 30 s',
    { timeout },
    async (context) => {
      const { core, worker } = await start(context)
      // As in production: 20 s to end by itself, 5 s after its signal.
      const first = await worker()
      const deaf = await accepted(core, 'deaf')
      await first.line('performs deaf 1')
      const asked = Date.now()
      first.kill('SIGTERM')
      await first.line('stopping')
      const quick = await accepted(core, 'complete')
      await first.line('stopped', 35_000)
      expect(Date.now() - asked).toBeLessThan(30_000)
      expect(await readTask(core, quick)).toMatchObject({ status: 'PENDING', attempt: 0 })
      expect(await readTask(core, deaf)).toMatchObject({
        status: 'RETRYING',
        handed_back: 1,
        error: { code: 'handed_back', detail: expect.stringContaining('ignored its signal') },
      })
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
