import { randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { seededRandom } from './seeded-random.ts'
import { type Core, startCore } from '../helpers/core.ts'
import { accept, reached, startWorker } from '../helpers/worker.ts'
import { isTerminalEvent } from '../../src/contract/event.ts'
import type { TaskStatus } from '../../src/contract/task-status.ts'
import { completed, defineOperation, type PerformContext } from '../../src/operations/define-operation.ts'
import { PermanentError, TransientError } from '../../src/operations/errors.ts'
import { cancelTask } from '../../src/tasks/cancel-task.ts'

// `npm test` plays a few; SLUICE_FAULT_ROUNDS plays as many as one has time for.
const rounds = Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50)
const seed = Number(process.env['SLUICE_FAULT_SEED'] ?? randomInt(2 ** 31))
/** Rounds under way at once: as many as the two workers have slots. */
const atOnce = 20
const timeoutMs = 200

let core: Core
const stops: (() => Promise<void>)[] = []
beforeAll(async () => {
  core = await startCore()
  for (let i = 0; i < 2; i++) {
    const worker = await startWorker(core, [operation], { graceMs: 100 })
    stops.push(() => worker.stop(0))
  }
})
afterAll(async () => {
  for (const stop of stops) await stop()
  await core.stop()
})

/** What happens in each attempt of a round, and when: all of it about when the deadline passes. */
const scriptSchema = z.strictObject({
  name: z.string(),
  end: z.enum(['complete', 'fail', 'try again']),
  afterMs: z.number(),
  cancelAfterMs: z.number().nullable(),
  /** Ends as it meant to, whatever its signal says. */
  deaf: z.boolean(),
})
type Script = z.infer<typeof scriptSchema>

const operation = defineOperation({
  type: 'test.race',
  title: 'A race',
  input: scriptSchema,
  class: 'long',
  retry: { maxAttempts: 3, backoff: { initialMs: 0, maxMs: 0 } },
  perform: async ({ taskId, signal }: PerformContext, { end, afterMs, cancelAfterMs, deaf, name }: Script) => {
    if (cancelAfterMs !== null) cancels.push(delay(cancelAfterMs).then(() => cancel(name)))
    await delay(afterMs, undefined, deaf ? {} : { signal })
    if (end === 'fail') throw new PermanentError('no', { code: 'no' })
    if (end === 'try again') throw new TransientError('not yet', { code: 'not_yet' })
    return completed({ taskId })
  },
})

const taskIds = new Map<string, string>()
const cancels: Promise<unknown>[] = []
const cancel = (name: string) =>
  cancelTask(core, { tenant: 'default', taskId: taskIds.get(name) ?? '', actor: 'requester' })

describe('cancel, complete, time out, fail and retry race through live workers', () => {
  test(
    `${rounds} rounds: each task ends once, and the engine says the same (SLUICE_FAULT_SEED=${seed})`,
    { timeout: 120_000 + rounds * 500 },
    async () => {
      const random = seededRandom(seed)
      const between = (from: number, to: number) => timeoutMs * (from + (to - from) * random())
      const ends = new Map<TaskStatus, number>()
      for (let first = 0; first < rounds; first += atOnce) {
        const scripts = Array.from({ length: Math.min(atOnce, rounds - first) }, (_, i): Script => ({
          name: `round-${first + i}`,
          end: (['complete', 'complete', 'fail', 'try again'] as const)[Math.floor(random() * 4)] ?? 'complete',
          afterMs: between(0.4, 1.2),
          cancelAfterMs: random() < 0.6 ? between(0.1, 0.9) : null,
          deaf: random() < 0.3,
        }))
        await Promise.all(scripts.map(submit))
        for (const { name } of scripts) {
          const { status } = await reached(core, taskIds.get(name) ?? '')
          ends.set(status, (ends.get(status) ?? 0) + 1)
        }
        await Promise.all(cancels.splice(0))
        await assertEndedOnce(scripts.map(({ name }) => taskIds.get(name) ?? ''))
      }
      console.log(`live races, seed ${seed}: ${[...ends].map(([status, n]) => `${status} ${n}`).join(', ')}`)
      // Each of them wins some of the time, or it is no race.
      expect([...ends.keys()].toSorted()).toEqual(['CANCELLED', 'COMPLETED', 'FAILED', 'TIMED_OUT'])
    },
  )
})

async function submit(script: Script): Promise<void> {
  const taskId = await accept(core, operation, { input: script, options: { timeout_ms: timeoutMs } })
  taskIds.set(script.name, taskId)
}

const engineStates: Readonly<Partial<Record<TaskStatus, readonly string[]>>> = {
  COMPLETED: ['completed'],
  FAILED: ['failed', 'cancelled'],
  TIMED_OUT: ['cancelled'],
  CANCELLED: ['cancelled'],
}

async function assertEndedOnce(ids: readonly string[]): Promise<void> {
  const { rows } = await core.database.pool.query<{
    task_id: string
    status: TaskStatus
    types: string[]
    attempts: (string | null)[]
    states: string[]
  }>(
    `select t.task_id, t.status, e.types, e.attempts,
       array(select j.state::text from pgboss.job j where j.id = t.task_id and j.name = 'sluice-long') as states
     from sluice.tasks t cross join lateral (select array_agg(type order by seq) as types,
       array_agg(payload->>'attempt' order by seq) as attempts from sluice.domain_events d where d.task_id = t.task_id) e
     where t.task_id = any($1)`,
    [ids],
  )
  expect(rows).toHaveLength(ids.length)
  for (const { status, types, attempts, states } of rows) {
    expect(types.filter(isTerminalEvent)).toHaveLength(1)
    expect(isTerminalEvent(types.at(-1) ?? '')).toBe(true)
    // Attempts count up, and nobody writes for one that is over.
    let attempt = 0
    types.forEach((type, i) => {
      if (type === 'task.started') attempt++
      if (attempts[i] !== null) expect(Number(attempts[i])).toBe(attempt)
    })
    expect(states).toHaveLength(1)
    expect(engineStates[status]).toContain(states[0])
  }
}
