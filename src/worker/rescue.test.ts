import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { startCore } from '../../test/helpers/core.ts'
import { accept, reached, scripted, startWorkerProcess } from '../../test/helpers/worker.ts'

// In a file of its own: it measures, and the tests in crash.test.ts start a dozen processes side by side.
test(
  'a worker that stands still inside its outcome transaction delays nobody’s rescue beyond 15 s',
  { timeout: 90_000 },
  async (context) => {
    const core = await startCore()
    context.onTestFinished(() => core.stop())
    const worker = async (env: Readonly<Record<string, string>> = {}) => {
      const process = await startWorkerProcess(core, env)
      context.onTestFinished(() => process.stop())
      return process
    }
    const accepted = (script: string) => accept(core, scripted(), { input: { name: randomUUID(), script } })
    // Up already, and asleep until it is needed: it takes none of the first attempts.
    const rescuer = await worker()
    rescuer.kill('SIGSTOP')
    const first = await worker({ PAUSE_IN_SETTLE: '1' })
    const paused = { taskId: await accepted('complete'), since: 0 }
    await first.line('pauses')
    paused.since = Date.now()
    const dying = await worker()
    const orphaned = { taskId: await accepted('hang once'), since: 0 }
    await dying.line('performs hang once 1')
    dying.kill('SIGKILL')
    orphaned.since = Date.now()
    rescuer.kill('SIGCONT')
    const others = await Promise.all([accepted('complete'), accepted('complete')])
    for (const other of others) expect(await reached(core, other)).toMatchObject({ status: 'COMPLETED' })
    for (const { taskId, since } of [paused, orphaned]) {
      expect(await reached(core, taskId, { timeoutMs: 40_000 })).toMatchObject({
        status: 'COMPLETED',
        attempt: 2,
        result: { pid: rescuer.child.pid },
      })
      const { rows } = await core.database.pool.query<{ event: string; at: Date }>(
        `select type || ' ' || (payload->>'attempt') as event, at from sluice.domain_events
         where task_id = $1 and type in ('task.started', 'task.completed') order by seq`,
        [taskId],
      )
      // The paused one's own outcome was rolled back: the task ends once.
      expect(rows.map(({ event }) => event)).toEqual(['task.started 1', 'task.started 2', 'task.completed 2'])
      expect(Number(rows[1]?.at) - since).toBeLessThan(15_000)
    }
  },
)
