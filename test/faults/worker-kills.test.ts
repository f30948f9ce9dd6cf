import { randomInt, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { isTerminalEvent } from '../../src/contract/event.ts'
import { acceptBatch } from '../../src/tasks/batch.ts'
import { type Core, startCore } from '../helpers/core.ts'
import { scripted, startWorkerProcess, type WorkerProcess } from '../helpers/worker.ts'
import { seededRandom } from './seeded-random.ts'

const seed = Number(process.env['SLUICE_FAULT_SEED'] ?? randomInt(2 ** 31))
/** Processes that die with tasks in hand. `npm test` kills a few; SLUICE_FAULT_KILLS kills as many as one has time for. */
const kills = Number(process.env['SLUICE_FAULT_KILLS'] ?? 20)
const processes = 12
/** So many die at once; the others take over while new ones start. */
const dying = 9
/** Of each kind and per round: some end within milliseconds, the others keep their worker busy until it dies. */
const [quickTasks, hangingTasks] = [50, 24]

interface Interrupted {
  readonly taskId: string
  readonly at: Date
  readonly worker: string
}

describe('kill -9 of workers', () => {
  test(
    `${kills} processes are killed with tasks in hand: none is lost, none ends twice (SLUICE_FAULT_SEED=${seed})`,
    { timeout: 120_000 + kills * 10_000 },
    async (context) => {
      const core = await startCore()
      context.onTestFinished(() => core.stop())
      const random = seededRandom(seed)
      const submitted: string[] = []
      const interrupted: Interrupted[] = []
      // One that had nothing in hand when it died is no kill.
      const killed = () => new Set(interrupted.map(({ worker }) => worker)).size
      const fleet: WorkerProcess[] = []
      context.onTestFinished(() => stopAll(fleet))
      const start = async () => void fleet.push(await startWorkerProcess(core))
      await Promise.all(Array.from({ length: processes }, start))
      while (killed() < kills) {
        const hanging = await submit(core, 'hang once', hangingTasks)
        await expect.poll(() => count(core, hanging, `status <> 'RUNNING'`), { timeout: 60_000, interval: 100 }).toBe(0)
        const victims = (await busiestOf(core, fleet)).slice(0, dying)
        // At any moment of tasks that come and go.
        const quick = await submit(core, 'complete', quickTasks)
        await delay(random() * 500)
        const dead = await kill(core, victims)
        for (const victim of victims) fleet.splice(fleet.indexOf(victim), 1)
        interrupted.push(...dead)
        submitted.push(...hanging, ...quick)
        const lost = [...dead.map(({ taskId }) => taskId), ...quick]
        await Promise.all([allEnded(core, lost), ...victims.map(start)])
      }
      await stopAll(fleet.splice(0))
      await start()
      await allEnded(core, submitted)
      await assertEndedOnce(core, submitted)
      const waits = (await rescueTimes(core, interrupted)).toSorted((a, b) => a - b)
      const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0
      const figures = [0.5, 0.99, 1].map((share) => `${(at(share) / 1000).toFixed(1)} s`)
      console.log(
        `worker kills, seed ${seed}: ${killed()} processes killed with ${interrupted.length} tasks in hand, ${submitted.length} tasks in all; ` +
          `lost 0, ended twice 0; picked up again p50 ${figures[0]}, p99 ${figures[1]}, at most ${figures[2]}`,
      )
      expect(waits).toHaveLength(interrupted.length)
      expect(at(0.99)).toBeLessThan(35_000)
    },
  )
})

const stopAll = async (fleet: readonly WorkerProcess[]): Promise<void> => {
  await Promise.all(fleet.map((worker) => worker.stop()))
}

const idOf = ({ child }: WorkerProcess): string => `process/${child.pid}`

/** Those with most in hand first, and before them any with short tasks: a batch that hangs would keep others from it. */
async function busiestOf(core: Core, fleet: readonly WorkerProcess[]): Promise<WorkerProcess[]> {
  const { rows } = await core.database.pool.query<{ worker: string; n: number }>(
    `select s.actor as worker, (count(*) + 1000 * count(*) filter (where t.class = 'short'))::int as n
     from sluice.tasks t ${lastStart} where t.status = 'RUNNING' group by s.actor`,
  )
  const busy = new Map(rows.map(({ worker, n }) => [worker, n]))
  return fleet.toSorted((a, b) => (busy.get(idOf(b)) ?? 0) - (busy.get(idOf(a)) ?? 0))
}

/** Who has a task of `t` in hand. */
const lastStart = `cross join lateral (select actor from sluice.domain_events e
  where e.task_id = t.task_id and e.type = 'task.started' order by seq desc limit 1) s`

/** So many long ones, and as many short ones: each kind at once, so that a worker finds a whole batch of short ones. */
async function submit(core: Core, script: string, count: number): Promise<string[]> {
  const scope = { tenant: 'default', actor: 'requester' }
  const batches = (['script.long', 'script.short'] as const).map((type) => {
    const item = () => ({ operation: scripted(type), input: { name: randomUUID(), script }, options: {}, ...scope })
    return acceptBatch(core, { ...scope, items: Array.from({ length: count }, item), onError: 'continue' })
  })
  const ids = (await Promise.all(batches)).map(({ batch_id }) => batch_id)
  const { rows } = await core.database.pool.query<{ id: string }>(
    'select task_id as id from sluice.tasks where batch_id = any($1)',
    [ids],
  )
  return rows.map(({ id }) => id)
}

async function count(core: Core, ids: readonly string[], condition: string): Promise<number> {
  const { rows } = await core.database.pool.query<{ n: number }>(
    `select count(*)::int as n from sluice.tasks where task_id = any($1) and ${condition}`,
    [ids],
  )
  return rows[0]?.n ?? 0
}

async function allEnded(core: Core, ids: readonly string[]): Promise<void> {
  await expect.poll(() => count(core, ids, 'not done'), { timeout: 120_000, interval: 100 }).toBe(0)
}

/** What the workers had in hand when they died, by the clock of the database. */
async function kill(core: Core, workers: readonly WorkerProcess[]): Promise<Interrupted[]> {
  await stopAll(workers)
  const { rows } = await core.database.pool.query<Interrupted>(
    `select t.task_id as "taskId", clock_timestamp() as at, s.actor as worker from sluice.tasks t ${lastStart}
     where t.status = 'RUNNING' and s.actor = any($1)`,
    [workers.map(idOf)],
  )
  return rows
}

async function rescueTimes(core: Core, interrupted: readonly Interrupted[]): Promise<number[]> {
  const { rows } = await core.database.pool.query<{ ms: number }>(
    `select (extract(epoch from s.at - i.at) * 1000)::float8 as ms
     from unnest($1::uuid[], $2::timestamptz[]) as i (task_id, at)
     cross join lateral (select e.at from sluice.domain_events e where e.task_id = i.task_id and e.type = 'task.started'
       and e.at > i.at order by e.seq limit 1) s`,
    [interrupted.map(({ taskId }) => taskId), interrupted.map(({ at }) => at)],
  )
  return rows.map(({ ms }) => ms)
}

async function assertEndedOnce(core: Core, ids: readonly string[]): Promise<void> {
  const { rows } = await core.database.pool.query<{ status: string; types: string[]; jobs: string[] }>(
    `select t.status, (select array_agg(type order by seq) from sluice.domain_events e where e.task_id = t.task_id) as types,
       array(select j.state::text from pgboss.job j where j.id = t.task_id and j.name <> 'sluice-dead') as jobs
     from sluice.tasks t where t.task_id = any($1)`,
    [ids],
  )
  expect(rows).toHaveLength(ids.length)
  for (const { status, types, jobs } of rows) {
    expect(status).toBe('COMPLETED')
    expect(types.filter(isTerminalEvent)).toEqual(['task.completed'])
    expect(types.at(-1)).toBe('task.completed')
    expect(jobs).toEqual(['completed'])
  }
}
