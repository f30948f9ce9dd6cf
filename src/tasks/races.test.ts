import { randomUUID } from 'node:crypto'
import fc, { type Scheduler } from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { isTerminalEvent } from '../contract/event.ts'
import { isTerminal } from '../contract/task-status.ts'
import { createDatabase, type Database, type Transaction } from '../database/database.ts'
import { cancelTask } from './cancel-task.ts'

// `npm test` plays a few; SLUICE_FAULT_ROUNDS plays as many as one has time for.
const rounds = Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50)

let core: Core
/** Whose transactions the scheduler lets go on, step by step. */
let stepped: Database
beforeAll(async () => {
  core = await startCore()
  stepped = createDatabase({ url: core.url, poolMax: 10, poolMin: 0, applicationName: 'stepped' })
})
afterAll(async () => {
  await stepped.stop()
  await core.stop()
})

/** What may happen to a running attempt, all of it at once. */
const moves = ['complete', 'fail', 'time out', 'retry', 'cancel', 'ask to cancel', 'take over', 'progress'] as const
type Move = (typeof moves)[number]

/** The errors that say "somebody was faster", and nothing else. */
const lost = new Set(['SL001', 'SL002'])

async function tryMove(database: Database, taskId: string, move: Move): Promise<void> {
  const write = (type: string, payload: object) =>
    database.transaction({ role: 'sluice_worker' }, (tx) => appendAsWorker(tx, taskId, { type, payload }))
  const attempt = 1
  const run: Record<Move, () => Promise<unknown>> = {
    complete: () => write('task.completed', { attempt, result: {} }),
    fail: () => write('task.failed', { attempt, error: {} }),
    'time out': () => write('task.timed_out', { attempt, error: {} }),
    retry: () => write('task.retrying', { attempt, error: {}, retry_in_ms: 0, burned: true }),
    cancel: () => write('task.cancelled', { attempt, error: {} }),
    'ask to cancel': () => cancelTask({ ...core, database }, { tenant: 'default', taskId, actor: 'requester' }),
    'take over': () => write('task.started', { claim: 1 }),
    progress: () => write('task.progress', { attempt, progress: { done: 1, total: 2, message: null } }),
  }
  try {
    await run[move]()
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && lost.has(String(error.code)))) throw error
  }
}

const appendAsWorker = (tx: Transaction, taskId: string, event: { type: string; payload: object }) =>
  sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
    values (${taskId}::uuid, 'default', ${event.type}, 'w', ${JSON.stringify(event.payload)}::jsonb)`.execute(tx)

/** Statements that were sent and not answered yet. */
let underWay = 0

async function counted<T>(work: () => Promise<T>): Promise<T> {
  underWay++
  try {
    return await work()
  } finally {
    underWay--
  }
}

/** Every transaction waits for the scheduler before it begins and before it commits. */
const steppedBy = (scheduler: Scheduler, name: string): Database => ({
  ...stepped,
  transaction: async (scope, work) => {
    await scheduler.schedule(Promise.resolve(), `${name} begins`)
    let committing = false
    try {
      return await stepped.transaction(scope, async (tx) => {
        const result = await counted(() => work(tx))
        await scheduler.schedule(Promise.resolve(), `${name} commits`)
        committing = true
        underWay++
        return result
      })
    } finally {
      if (committing) underWay--
    }
  },
})

/** After each step: until all that is under way stands before a lock. Then the next step is the scheduler's to choose. */
async function standStill(): Promise<void> {
  while (underWay > 0) {
    const { rows } = await core.database.pool.query<{ blocked: number }>(
      `select count(*)::int as blocked from pg_stat_activity
       where datname = current_database() and application_name = 'stepped' and wait_event_type = 'Lock'`,
    )
    if (rows[0]?.blocked === underWay) return
  }
}

async function startedTask(): Promise<string> {
  const { taskId } = await core.acceptor.accept({
    operation: noop,
    input: { name: randomUUID() },
    options: {},
    tenant: 'default',
    actor: 'requester',
  })
  await core.database.transaction({ role: 'sluice_worker' }, (tx) =>
    appendAsWorker(tx, taskId, { type: 'task.started', payload: { claim: 0 } }),
  )
  return taskId
}

describe('races have one winner each', () => {
  test(
    `${rounds} random interleavings, step by step, of what may happen to a running task`,
    { timeout: 60_000 + rounds * 500 },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.constantFrom(...moves), { minLength: 2, maxLength: 8 }),
          fc.scheduler({
            act: async (step) => {
              await step()
              await standStill()
            },
          }),
          async (chosen, scheduler) => {
            const taskId = await startedTask()
            const moving = chosen.map((move, i) => tryMove(steppedBy(scheduler, `${i}: ${move}`), taskId, move))
            await scheduler.waitFor(Promise.all(moving))
            await assertOneWinner(taskId)
          },
        ),
        { numRuns: rounds },
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
