import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { isTerminalEvent } from '../contract/event.ts'
import { isTerminal } from '../contract/task-status.ts'
import { cancelTask } from './cancel-task.ts'

// `npm test` plays a few; SLUICE_FAULT_ROUNDS plays as many as one has time for.
const rounds = Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50)

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

/** What may happen to a running attempt, all of it at once. */
const moves = ['complete', 'fail', 'time out', 'retry', 'cancel', 'ask to cancel', 'take over', 'progress'] as const
type Move = (typeof moves)[number]

/** The errors that say "somebody was faster", and nothing else. */
const lost = new Set(['SL001', 'SL002'])

async function tryMove(taskId: string, move: Move): Promise<boolean> {
  const write = (type: string, payload: object) =>
    core.database.transaction({ role: 'sluice_worker' }, (tx) =>
      sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
        values (${taskId}::uuid, 'default', ${type}, 'w', ${JSON.stringify(payload)}::jsonb)`.execute(tx),
    )
  const attempt = 1
  const run: Record<Move, () => Promise<unknown>> = {
    complete: () => write('task.completed', { attempt, result: {} }),
    fail: () => write('task.failed', { attempt, error: {} }),
    'time out': () => write('task.timed_out', { attempt, error: {} }),
    retry: () => write('task.retrying', { attempt, error: {}, retry_in_ms: 0, burned: true }),
    cancel: () => write('task.cancelled', { attempt, error: {} }),
    'ask to cancel': () => cancelTask(core, { tenant: 'default', taskId, actor: 'requester' }),
    'take over': () => write('task.started', { claim: 1 }),
    progress: () => write('task.progress', { attempt, progress: { done: 1, total: 2, message: null } }),
  }
  try {
    await run[move]()
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && lost.has(String(error.code))) return false
    throw error
  }
}

describe('races have one winner each', () => {
  test(
    `${rounds} random interleavings of what may happen to a running task`,
    { timeout: 60_000 + rounds * 500 },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.constantFrom(...moves), { minLength: 2, maxLength: 8 }),
          fc.scheduler(),
          async (chosen, scheduler) => {
            const { taskId } = await core.acceptor.accept({
              operation: noop,
              input: { name: randomUUID() },
              options: {},
              tenant: 'default',
              actor: 'requester',
            })
            await core.database.transaction({ role: 'sluice_worker' }, (tx) =>
              sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
              values (${taskId}::uuid, 'default', 'task.started', 'w', '{"claim": 0}')`.execute(tx),
            )
            // The scheduler shuffles who begins; from there on PostgreSQL lets them race.
            const results = chosen.map((move) =>
              scheduler.schedule(Promise.resolve(), move).then(() => tryMove(taskId, move)),
            )
            await scheduler.waitIdle()
            await Promise.all(results)
            await assertOneWinner(taskId)
          },
        ),
        { numRuns: rounds, endOnFailure: true },
      )
    },
  )
})

async function assertOneWinner(taskId: string): Promise<void> {
  const { rows: events } = await core.database.pool.query<{ type: string; attempt: string | null; seq: string }>(
    `select type, payload->>'attempt' as attempt, seq from sluice.domain_events where task_id = $1 order by seq`,
    [taskId],
  )
  const { rows: tasks } = await core.database.pool.query(
    'select status, attempt, last_seq, completed_at from sluice.tasks where task_id = $1',
    [taskId],
  )
  const ends = events.filter(({ type }) => isTerminalEvent(type))
  const [task] = tasks
  expect(ends.length).toBeLessThanOrEqual(1)
  expect(isTerminal(task.status)).toBe(ends.length === 1)
  expect(task.completed_at !== null).toBe(ends.length === 1)
  // Nothing is written behind the end, and the projection is where the log is.
  if (ends[0]) expect(events.at(-1)).toEqual(ends[0])
  expect(task.last_seq).toBe(events.at(-1)?.seq)
  // Attempts count up in the order of the log, and nobody writes for one that is over.
  let attempt = 0
  for (const event of events) {
    if (event.type === 'task.started') expect(Number(event.attempt)).toBe(++attempt)
    else if (event.attempt !== null) expect(Number(event.attempt)).toBe(attempt)
  }
  expect(task.attempt).toBe(attempt)
}
