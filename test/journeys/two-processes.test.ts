import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { accepted, type Api } from './support/api.ts'
import { openEventStream } from './support/event-stream.ts'
import { openLiveSocket } from './support/live-socket.ts'
import { startDeadlineMs } from './support/program.ts'
import { type RoleOptions, type RoleProcess, startRole } from './support/role.ts'

const lifeOfAProject = ['task.requested', 'task.started', 'task.waiting', 'task.completed']

let cluster: SimulatedCluster
let start: (role: RoleOptions['role']) => Promise<RoleProcess>
let worker: RoleProcess
/** Two API processes, as the requester sees them. */
let here: Api
let there: Api
const processes: RoleProcess[] = []

beforeAll(async () => {
  cluster = await startSimulatedCluster()
  const shared = { databaseUrl: (await createTestDatabase()).url, kubeconfig: cluster.kubeconfig() }
  start = async (role) => {
    const started = await startRole({ ...shared, role })
    processes.push(started)
    return started
  }
  const [first, second, third] = await Promise.all([start('api'), start('api'), start('worker')])
  here = first.as('requester')
  there = second.as('requester')
  worker = third
}, startDeadlineMs)
afterAll(async () => {
  await Promise.all(processes.map((started) => started.stop()))
  await cluster?.stop()
})

/** Keeps a project that does not exist yet from becoming ready. @returns what lets it go */
const hold = (name: string) => cluster.faults.controller({ mode: 'stall', kind: 'Project', name })

describe('two API processes and a worker on one database', () => {
  test('a task that one accepts runs in the worker, and is seen live in the other', async () => {
    const socket = await openLiveSocket(there)
    socket.send({ subscribe: { id: 'all', kind: 'tasks' } })
    expect(await socket.next()).toMatchObject({ ready: true })
    const letGo = hold('seen-elsewhere')
    const { task_id } = await here.createProject('seen-elsewhere')
    const stream = await openEventStream(there, task_id)
    await stream.until('task.waiting')
    letGo()
    expect((await stream.rest()).map(({ type }) => type)).toEqual(['task.completed'])
    const events = await socket.until(task_id, 'task.completed')
    expect(events.filter(({ subject }) => subject === task_id).map(({ type }) => type)).toEqual(lifeOfAProject)
    expect(await there.task(task_id)).toEqual(await here.task(task_id))
    socket.cut()
  })

  test('a reader that moves from one to the other goes on where it was', async () => {
    const letGo = hold('moving-reader')
    const { task_id } = await here.createProject('moving-reader')
    const before = await openEventStream(here, task_id)
    const { seq } = await before.until('task.waiting')
    await before.close()
    letGo()
    const after = await openEventStream(there, task_id, seq)
    expect((await after.rest()).map(({ type }) => type)).toEqual(['task.completed'])
  })

  test('waiting for an end at one hears of it from the worker at once', async () => {
    const letGo = hold('awaited')
    const { task_id } = await here.createProject('awaited')
    const answer = there.send('GET', `/tasks/${task_id}?wait=30`)
    await (await openEventStream(here, task_id)).until('task.waiting')
    const released = performance.now()
    letGo()
    expect((await answer).body).toMatchObject({ status: 'COMPLETED' })
    expect(performance.now() - released).toBeLessThan(5_000)
  })

  test('the same request at both becomes one task', async () => {
    const key = randomUUID()
    const ask = (api: Api, name: string, headers: Record<string, string>) =>
      api.send('POST', '/projects', { body: { name, organization: 'acme' }, headers })
    const keyed = [here, there, here, there].map((api) => ask(api, 'keyed-twice', { 'idempotency-key': key }))
    const [first, ...others] = (await Promise.all(keyed)).map(accepted)
    for (const other of others) expect(other).toEqual(first)

    const joining = [here, there, here, there].map((api) => ask(api, 'stalls-joined', {}))
    const tasks = (await Promise.all(joining)).map(accepted)
    expect(new Set(tasks.map(({ task_id }) => task_id)).size).toBe(1)
    expect(tasks.filter(({ deduplicated }) => deduplicated)).toHaveLength(3)
  })

  test('a task is cancelled at one though the other accepted it', async () => {
    const { task_id } = await here.createProject('stalls-cancelled-elsewhere')
    const stream = await openEventStream(here, task_id)
    await stream.until('task.waiting')
    expect((await there.send('POST', `/tasks/${task_id}/cancel`)).status).toBe(202)
    expect((await stream.rest()).map(({ type }) => type)).toEqual(['task.cancel_requested', 'task.cancelled'])
  })
})

describe('a worker that goes away', () => {
  test(
    'while a task waits leaves it to the next one; meanwhile the API still takes changes',
    async () => {
      const letGo = hold('outlives-its-worker')
      const waiting = await here.createProject('outlives-its-worker')
      await (await openEventStream(here, waiting.task_id)).until('task.waiting')
      await worker.kill()
      letGo()
      const queued = await there.createProject('taken-meanwhile')
      expect(await there.task(queued.task_id)).toMatchObject({ status: 'PENDING' })

      worker = await start('worker')
      for (const { task_id } of [waiting, queued]) {
        expect(await here.end(task_id)).toMatchObject({ status: 'COMPLETED', attempt: 1 })
        expect((await here.events(task_id)).map(({ type }) => type)).toEqual(lifeOfAProject)
      }
    },
    startDeadlineMs,
  )

  test(
    'in good order hands its work back and leaves nothing hanging',
    async () => {
      const { task_id } = await here.createProject('stalls-over-a-restart', { task: { timeout_ms: 600_000 } })
      await (await openEventStream(here, task_id)).until('task.waiting')
      expect(await worker.stop()).toBe(0)
      worker = await start('worker')
      expect((await here.send('POST', `/tasks/${task_id}/cancel`)).status).toBe(202)
      expect(await here.end(task_id)).toMatchObject({ status: 'CANCELLED' })
    },
    startDeadlineMs,
  )
})
