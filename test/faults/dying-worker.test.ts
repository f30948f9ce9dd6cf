import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import type { Api } from '../journeys/support/api.ts'
import { openEventStream } from '../journeys/support/event-stream.ts'
import { startDeadlineMs } from '../journeys/support/program.ts'
import { type RoleOptions, type RoleProcess, startRole } from '../journeys/support/role.ts'

let cluster: SimulatedCluster
let shared: Omit<RoleOptions, 'role'>
let api: RoleProcess
let requester: Api
let workers: RoleProcess[] = []

beforeAll(async () => {
  cluster = await startSimulatedCluster()
  shared = { databaseUrl: (await createTestDatabase()).url, kubeconfig: cluster.kubeconfig() }
  api = await startRole({ ...shared, role: 'api' })
  requester = api.as('requester')
}, startDeadlineMs)
afterAll(async () => {
  await api?.stop()
  await cluster?.stop()
})
afterEach(async () => {
  cluster.faults.clear()
  await Promise.all(workers.map((worker) => worker.stop()))
  workers = []
})

const startWorkers = async (count: number) => {
  workers = await Promise.all(Array.from({ length: count }, () => startRole({ ...shared, role: 'worker' })))
}

/** Submits a project whose apply is answered late, and returns once a worker runs it, with that worker. */
async function submitHanging(name: string, ms: number): Promise<{ taskId: string; runner: RoleProcess }> {
  const answerAtOnce = cluster.faults.slow(ms, { verb: 'patch', resource: 'projects', name })
  const { task_id: taskId } = await requester.createProject(name)
  const started = await (await openEventStream(requester, taskId)).until('task.started')
  const runner = workers.find(({ pid }) => String(started.data['worker']).split('/')[1] === String(pid))
  // From here on: the apply that is under way stays late.
  answerAtOnce()
  if (!runner) throw new Error(`no worker of this test says that it is ${String(started.data['worker'])}`)
  return { taskId, runner }
}

const typesOf = async (taskId: string) => (await requester.events(taskId)).map(({ type }) => type)
const takenOver = ['task.requested', 'task.started', 'task.started', 'task.waiting', 'task.completed']

async function objectsNamed(name: string): Promise<number> {
  const response = await fetch(`${cluster.url}/apis/resourcemanager.miloapis.com/v1alpha1/projects/${name}`, {
    headers: { authorization: `Bearer ${cluster.token}` },
  })
  return response.ok ? 1 : 0
}

describe('a worker dies while it runs a task', () => {
  test('kill -9: another one takes the task over, and makes one object', async () => {
    await startWorkers(2)
    const { taskId, runner } = await submitHanging('orphaned', 600_000)
    await runner.kill()
    expect(await requester.end(taskId)).toMatchObject({ status: 'COMPLETED', attempt: 2 })
    expect(await typesOf(taskId)).toEqual(takenOver)
    expect(await objectsNamed('orphaned')).toBe(1)
  }, 120_000)

  test('paused until another one has taken over: what it brings then is refused', async () => {
    await startWorkers(2)
    // The cluster does as the paused one asked; the answer lies there until it wakes up.
    const { taskId, runner } = await submitHanging('paused', 3_000)
    process.kill(runner.pid, 'SIGSTOP')
    try {
      expect(await requester.end(taskId)).toMatchObject({ status: 'COMPLETED', attempt: 2 })
    } finally {
      process.kill(runner.pid, 'SIGCONT')
    }
    // Stops only when what it has in hand has ended.
    expect(await runner.stop()).toBe(0)
    expect(await typesOf(taskId)).toEqual(takenOver)
    expect(await objectsNamed('paused')).toBe(1)
  }, 120_000)
})

describe('no worker is alive while the world goes on', () => {
  test('the next one finds each wait decided as the cluster has it now, or past its deadline', async () => {
    await startWorkers(1)
    const names = ['becomes-ready', 'is-deleted', 'is-replaced', 'stalls-past-its-deadline', 'is-cancelled'] as const
    const taskIds = new Map<string, string>()
    for (const name of names) {
      cluster.faults.controller({ mode: 'stall', kind: 'Project', name })
      const timeout_ms = name === 'stalls-past-its-deadline' ? 3_000 : 600_000
      const { task_id } = await requester.createProject(name, { task: { timeout_ms } })
      await (await openEventStream(requester, task_id)).until('task.waiting')
      taskIds.set(name, task_id)
    }
    await workers[0]?.kill()

    await send('DELETE', 'is-deleted')
    await send('DELETE', 'is-replaced')
    await expect.poll(() => objectsNamed('is-replaced'), { timeout: 10_000 }).toBe(0)
    await send('POST', 'is-replaced')
    const cancelled = await requester.send('POST', `/tasks/${taskIds.get('is-cancelled')}/cancel`)
    expect(cancelled.status).toBe(202)
    const late = await requester.task(taskIds.get('stalls-past-its-deadline') ?? '')
    await expect.poll(() => Date.now(), { timeout: 10_000 }).toBeGreaterThan(Date.parse(late.deadline_at ?? ''))
    cluster.faults.clear()

    await startWorkers(1)
    const ends = new Map<string, unknown>()
    for (const [name, taskId] of taskIds) {
      const { status, error } = await requester.end(taskId)
      ends.set(name, [status, error?.code])
    }
    expect(Object.fromEntries(ends)).toEqual({
      'becomes-ready': ['COMPLETED', undefined],
      'is-deleted': ['FAILED', 'resource_gone'],
      'is-replaced': ['FAILED', 'resource_replaced'],
      'stalls-past-its-deadline': ['TIMED_OUT', 'timed_out'],
      'is-cancelled': ['CANCELLED', 'cancelled'],
    })
  }, 120_000)
})

/** Changes the cluster past Sluice. */
async function send(method: 'DELETE' | 'POST', name: string): Promise<void> {
  const collection = `${cluster.url}/apis/resourcemanager.miloapis.com/v1alpha1/projects`
  const project = {
    apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
    kind: 'Project',
    metadata: { name },
    spec: { ownerRef: { kind: 'Organization', name: 'somebody-else' } },
  }
  const response = await fetch(method === 'POST' ? collection : `${collection}/${name}`, {
    method,
    headers: { authorization: `Bearer ${cluster.token}`, 'content-type': 'application/json' },
    ...(method === 'POST' && { body: JSON.stringify(project) }),
  })
  if (!response.ok) throw new Error(`${method} ${name} answered ${response.status}: ${await response.text()}`)
}
