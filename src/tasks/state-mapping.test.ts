import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { startKubernetesWorker } from '../../test/helpers/kubernetes-worker.ts'
import { until } from '../../test/helpers/until.ts'
import { accept, reached, readTask, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { taskStatuses, type TaskStatus } from '../contract/task-status.ts'
import { startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { completed } from '../operations/define-operation.ts'
import { PermanentError, TransientError } from '../operations/errors.ts'
import { cancelTask } from './cancel-task.ts'
import { decideTicket } from './decide-ticket.ts'
import { expireTickets } from './expire-tickets.ts'
import { pauseQueue } from './queues.ts'
import { type StateMapping, stateMappings } from './task-state.ts'

// Whatever the operation called `held` asks for needs an approval.
const policy = `version: 1
rules:
  - { name: held, when: 'operation == "test.held"', approval: {} }
  - { name: rest, allow: true }
`

let core: GovernedCore
const stops: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  core = await startGovernedCore(policy)
})
afterAll(async () => {
  for (const stop of stops.toReversed()) await stop()
  await core.stop()
})

const plain = testOperation({ type: 'test.plain', perform: async () => completed({}) })
const held = testOperation({ type: 'test.held', perform: async () => completed({}) })
const paused = testOperation({ type: 'test.paused', perform: async () => completed({}) })
const hanging = testOperation({
  type: 'test.hanging',
  perform: ({ signal }) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
})
const busy = testOperation({
  type: 'test.busy',
  retry: { maxAttempts: 2, backoff: { initialMs: 60_000 } },
  perform: async () => {
    throw new TransientError('not now', { code: 'busy' })
  },
})
const used = testOperation({
  type: 'test.used',
  retry: { maxAttempts: 1 },
  perform: async () => {
    throw new TransientError('not now', { code: 'busy' })
  },
})
const broken = testOperation({
  type: 'test.broken',
  perform: async () => {
    throw new PermanentError('never', { code: 'never' })
  },
})
const unknown = testOperation({ type: 'test.unknown', perform: async () => completed({}) })

const work = async () => {
  const worker = await startWorker(core, [plain, paused, hanging, busy, used, broken])
  stops.push(() => worker.stop(0))
}
const decide = (ticketId: string, decision: 'reject' | 'withdraw') =>
  decideTicket(core, {
    tenant: 'default',
    ticketId,
    decision,
    person: decision === 'withdraw' ? { name: 'requester', roles: [] } : { name: 'anna', roles: ['approver'] },
  })

/** Brings a task where the mapping is about it; in the order of a life. */
const makers: Readonly<Record<TaskStatus, readonly (() => Promise<string>)[]>> = {
  AWAITING_APPROVAL: [() => accept(core, held)],
  SCHEDULED: [() => accept(core, plain, { options: { start_at: new Date(Date.now() + 3_600_000).toISOString() } })],
  PENDING: [
    () => accept(core, unknown),
    async () => {
      await pauseQueue({ database: core.database, tenant: 'default', actor: 'admin' }, { operation: paused.type })
      const taskId = await accept(core, paused)
      await until(async () => {
        const { rowCount } = await core.database.pool.query(`select from sluice.holds where task_id = $1`, [taskId])
        return rowCount === 1
      })
      return taskId
    },
  ],
  RUNNING: [() => accept(core, hanging)],
  WAITING: [() => Promise.resolve(waiting), () => Promise.resolve(waiting)],
  RETRYING: [() => accept(core, busy), () => accept(core, unknown)],
  COMPLETED: [() => accept(core, plain)],
  FAILED: [() => accept(core, used), () => accept(core, broken)],
  TIMED_OUT: [() => accept(core, hanging, { options: { timeout_ms: 100 } })],
  CANCELLED: [
    async () => {
      const taskId = await accept(core, hanging)
      await reached(core, taskId, { statuses: ['RUNNING'] })
      await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
      return taskId
    },
    async () => {
      const taskId = await accept(core, held)
      await decide(taskId, 'withdraw')
      return taskId
    },
  ],
  REJECTED: [
    async () => {
      const taskId = await accept(core, held)
      await decide(taskId, 'reject')
      return taskId
    },
  ],
  EXPIRED: [
    async () => {
      const taskId = await accept(core, held)
      await core.database.pool.query(`update sluice.tickets set expires_at = now() where task_id = $1`, [taskId])
      await expireTickets({ ...core, workerId: 'w' })
      return taskId
    },
  ],
}

/** A task that waits for a project that never becomes ready. */
let waiting: string
async function startWaiting(): Promise<void> {
  const simulated = await startSimulatedCluster()
  simulated.faults.controller({ mode: 'stall', kind: 'Project' })
  const worker = await startKubernetesWorker(core, [{ name: 'default', kubeconfig: simulated.kubeconfig() }])
  waiting = await worker.submit('project.create', { name: 'waits', organization: 'test' })
  await reached(core, waiting, { statuses: ['WAITING'] })
  await worker.stop()
  await simulated.stop()
}

/** The engine's rows of a task's job, and of the finish job of its wait. */
async function jobsOf(taskId: string): Promise<{ own: string | null; finish: string | null }> {
  const { rows } = await core.database.pool.query<{ queue: string; state: string }>(
    `select name as queue, state || case when state = 'created' and start_after > now() then ', starts later' else '' end as state
     from pgboss.job where (id = $1 and name in ('sluice-short', 'sluice-long')) or (name = 'sluice-finish'
       and id in (select event_id from sluice.domain_events where task_id = $1 and type = 'task.waiting'))`,
    [taskId],
  )
  const own = rows.find(({ queue }) => queue !== 'sluice-finish')?.state ?? null
  return { own, finish: rows.find(({ queue }) => queue === 'sluice-finish')?.state ?? null }
}

describe('each status is in the engine as the mapping says', () => {
  const cases = taskStatuses.flatMap((status) =>
    (stateMappings[status] as readonly StateMapping[]).map((mapping, i) => ({ status, mapping, i })),
  )
  beforeAll(async () => {
    await startWaiting()
  })

  // What no worker may touch comes first.
  const early = cases.filter(({ status, i }) => status === 'PENDING' && i === 0)
  test.each(early)('$status, $mapping.when: $mapping.engine', async ({ status, mapping }) => {
    const taskId = await accept(core, unknown)
    expect((await readTask(core, taskId)).status).toBe(status)
    expect((await jobsOf(taskId)).own).toBe(mapping.engine)
    await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
    await work()
  })

  test.each(cases.filter((one) => !early.includes(one)))(
    '$status, $mapping.when: $mapping.engine',
    async ({ status, mapping, i }) => {
      const taskId = (await makers[status][i]?.()) ?? ''
      await reached(core, taskId, { statuses: [status] })
      const { own, finish } = await jobsOf(taskId)
      expect(mapping.when?.startsWith('the finish job') === true ? finish : own).toBe(mapping.engine)
      if (mapping.when?.startsWith('attempts used up') === true) {
        const { rowCount } = await core.database.pool.query(
          `select from pgboss.job where name = 'sluice-dead' and source_id = $1`,
          [taskId],
        )
        expect(rowCount).toBe(1)
      }
    },
  )
})
