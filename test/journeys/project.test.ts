import { exec } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ticketSchema } from '../../src/contract/approval.ts'
import { acceptedSchema } from '../../src/contract/task.ts'
import { accepted, type Api, problemOf } from './support/api.ts'
import { type DatabaseView, openDatabaseView } from './support/database-view.ts'
import { openEventStream } from './support/event-stream.ts'
import { kubectl, lacksKubectl } from './support/kubectl.ts'
import { openSimulatedCluster, type SimulatedCluster } from './support/simulated-cluster.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

const run = promisify(exec)
const projects = 'projects.resourcemanager.miloapis.com'

let sluice: SluiceProcess
let requester: Api
let database: DatabaseView
let cluster: SimulatedCluster

beforeAll(async () => {
  sluice = await startSluiceProcess(await makeDataDir())
  requester = sluice.as('requester')
  database = await openDatabaseView(sluice.databaseUrl)
  cluster = await openSimulatedCluster(sluice.kubeconfig)
}, startDeadlineMs)
afterAll(() => database?.close())

describe('creating a project', () => {
  test('the printed curl line makes one, from its 202 to Ready', async () => {
    const [line] = /^curl .*$/m.exec(sluice.output()) ?? []
    const { stdout } = await run(line ?? 'false')
    const task = await requester.end(acceptedSchema.parse(JSON.parse(stdout)).task_id)
    expect(task).toMatchObject({ status: 'COMPLETED', operation: 'project.create', requested_by: 'requester' })
  })

  test('it is RUNNING, then WAITING without a slot, then COMPLETED, each seen as it happens', async () => {
    await cluster.hold('watched')
    const answer = await requester.send('POST', '/projects', { body: { name: 'watched', organization: 'acme' } })
    const { task_id, status, links } = accepted(answer)
    expect(status).toBe('PENDING')
    expect(answer.headers.get('location')).toBe(links.self)
    expect(answer.headers.get('retry-after')).toBe('1')

    const stream = await openEventStream(requester, task_id)
    expect(stream).toMatchObject({ status: 200, contentType: 'text/event-stream' })
    await stream.until('task.waiting')
    expect(await requester.task(task_id)).toMatchObject({
      status: 'WAITING',
      done: false,
      waiting_for: { cluster: 'default', kind: 'Project', namespace: null, name: 'watched' },
      why_waiting: expect.stringContaining('Waiting for Project watched to be ready'),
    })
    // One job, done and its slot free; one wait, whose finish job stands at the deadline.
    expect(await database.jobsOf(task_id)).toMatchObject([
      { queue: 'sluice-short', state: 'completed' },
      { queue: 'sluice-finish', state: 'created' },
    ])
    expect(await database.waitsOf(task_id)).toBe(1)

    await cluster.letGo()
    const end = await stream.until('task.completed')
    expect(await stream.next()).toBeUndefined()
    const task = await requester.task(task_id)
    expect(task).toMatchObject({ status: 'COMPLETED', done: true, attempt: 1, waiting_for: null, error: null })
    expect(task.result).toMatchObject({ name: 'watched', cluster: 'default' })
    expect(end.data['result']).toEqual(task.result)
    expect(await database.waitsOf(task_id)).toBe(0)
    expect(await database.recordOf('watched')).toEqual({
      name: 'watched',
      uid: task.result?.['uid'],
      state: 'present',
      ready: 'True',
    })
    const jobs = await database.jobsOf(task_id)
    expect(jobs.filter(({ queue }) => queue === 'sluice-short')).toMatchObject([{ state: 'completed' }])
    // The watch brought a twin forward, and the deadline's own finish job was taken back.
    expect(jobs.filter(({ queue }) => queue === 'sluice-finish').map(({ state }) => state)).toEqual(
      expect.arrayContaining(['cancelled', 'completed']),
    )
  })

  test('its timeline holds each step once, in the order in which it happened', async () => {
    const { task_id } = await requester.createProject('ordered')
    await requester.end(task_id)
    const events = await requester.events(task_id)
    expect(events.map(({ type }) => type)).toEqual(['task.requested', 'task.started', 'task.waiting', 'task.completed'])
    const seqs = events.map(({ seq }) => BigInt(seq))
    expect(seqs).toEqual(seqs.toSorted((a, b) => (a < b ? -1 : 1)))
    expect(events[0]).toMatchObject({ actor: 'requester', data: { input: { name: 'ordered', organization: 'acme' } } })
  })

  test.skipIf(lacksKubectl())('kubectl finds the object, made by this task', async () => {
    const { task_id } = await requester.createProject('for-kubectl', { display_name: 'For kubectl' })
    const task = await requester.end(task_id)
    const found: unknown = JSON.parse(await kubectl(sluice.kubeconfig, 'get', projects, 'for-kubectl', '-o', 'json'))
    expect(found).toMatchObject({
      metadata: {
        uid: task.result?.['uid'],
        labels: { 'sluice.dev/task': task_id },
        annotations: { 'kubernetes.io/display-name': 'For kubectl' },
      },
      spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
    })
    await kubectl(sluice.kubeconfig, 'wait', '--for=condition=Ready', `${projects}/for-kubectl`, '--timeout=5s')
  })

  test('one that fails in the cluster ends FAILED, with the reason', async () => {
    const { task_id } = await requester.createProject('fails-always')
    const task = await requester.end(task_id)
    expect(task.status).toBe('FAILED')
    expect(task.result).toBeNull()
    expect(task.error).toMatchObject({ retryable: false, detail: expect.stringContaining('ProjectNameConflict') })
    expect(await database.waitsOf(task_id)).toBe(0)
  })

  test('one that is never ready is TIMED_OUT at its deadline, with the last that was seen', async () => {
    const { task_id } = await requester.createProject('stalls-for-ever', { task: { timeout_ms: 2_000 } })
    const task = await requester.end(task_id)
    expect(task.status).toBe('TIMED_OUT')
    expect(task.error).toMatchObject({ code: 'timed_out', detail: expect.stringContaining('Provisioning') })
    const [started, deadline, ended] = [task.started_at, task.deadline_at, task.completed_at].map((at) =>
      Date.parse(at ?? ''),
    )
    expect((deadline ?? 0) - (started ?? 0)).toBe(2_000)
    expect((ended ?? 0) - (deadline ?? 0)).toBeGreaterThanOrEqual(0)
    expect((ended ?? 0) - (deadline ?? 0)).toBeLessThan(2_000)
  })

  test('a name that somebody else has taken ends FAILED with already_exists, and their object stays as it was', async () => {
    await cluster.makeProject('taken')
    const { task_id } = await requester.createProject('taken')
    const task = await requester.end(task_id)
    expect(task).toMatchObject({ status: 'FAILED', error: { code: 'already_exists', retryable: false } })
    const standing = (await cluster.projects()).find(({ metadata }) => metadata.name === 'taken')
    expect(standing?.metadata.labels).toEqual({})
    expect(await database.recordOf('taken')).toBeUndefined()
  })

  test('a name that an earlier task has made is taken as well', async () => {
    const first = await requester.createProject('made-twice')
    expect(await requester.end(first.task_id)).toMatchObject({ status: 'COMPLETED' })
    const second = await requester.createProject('made-twice')
    expect(second.task_id).not.toBe(first.task_id)
    expect(await requester.end(second.task_id)).toMatchObject({
      status: 'FAILED',
      error: { code: 'already_exists' },
    })
  })
})

describe('deleting a project', () => {
  const tasksOn = async (name: string) =>
    (await database.rows('select from sluice.tasks where target like $1', [`%/${name}`])).length

  test('is COMPLETED when the object is gone; again, it is 404 before anything is accepted', async () => {
    await requester.end((await requester.createProject('short-lived')).task_id)
    const { task_id } = accepted(await requester.send('DELETE', '/projects/short-lived'))
    expect(await requester.end(task_id)).toMatchObject({
      status: 'COMPLETED',
      operation: 'project.delete',
      result: { name: 'short-lived', already_gone: false },
    })
    expect((await cluster.projects()).map(({ metadata }) => metadata.name)).not.toContain('short-lived')
    expect(await database.recordOf('short-lived')).toMatchObject({ state: 'deleted' })

    const again = await requester.send('DELETE', '/projects/short-lived')
    expect(again.status).toBe(404)
    expect(problemOf(again)).toMatchObject({ code: 'not_found', detail: expect.stringContaining('already deleted') })
    expect(await tasksOn('short-lived')).toBe(2)
  })

  test('one that nobody has heard of could be in prod: it needs its name again and an approval, and is already gone', async () => {
    const unconfirmed = await requester.send('DELETE', '/projects/never-known')
    expect(problemOf(unconfirmed)).toMatchObject({ status: 422, code: 'confirmation_required' })
    const body = { task: { confirm_name: 'never-known' } }
    const { task_id, status, links } = accepted(await requester.send('DELETE', '/projects/never-known', { body }))
    expect(status).toBe('AWAITING_APPROVAL')
    const path = links.ticket?.replace('/api/v1', '') ?? ''
    const { payload_hash } = ticketSchema.parse((await sluice.as('approver').send('GET', path)).body)
    expect((await sluice.as('approver').send('POST', `${path}/approve`, { body: { payload_hash } })).status).toBe(200)
    expect(await requester.end(task_id)).toMatchObject({ status: 'COMPLETED', result: { already_gone: true } })
  })

  test('a deleted name can be used again', async () => {
    for (const _ of [1, 2]) {
      await requester.end((await requester.createProject('phoenix')).task_id)
      const { task_id } = accepted(await requester.send('DELETE', '/projects/phoenix'))
      expect(await requester.end(task_id)).toMatchObject({ status: 'COMPLETED', result: { already_gone: false } })
    }
    expect(await database.recordOf('phoenix')).toMatchObject({ state: 'deleted' })
  })
})

describe('cancelling', () => {
  test('a scheduled task is CANCELLED at once, and its job never runs', async () => {
    const { task_id, status } = await requester.createProject('later', {
      task: { start_at: new Date(Date.now() + 3_600_000).toISOString() },
    })
    expect(status).toBe('SCHEDULED')
    const answer = await requester.send('POST', `/tasks/${task_id}/cancel`)
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({ task: { status: 'CANCELLED', done: true, error: { code: 'cancelled' } } })
    expect(await database.jobsOf(task_id)).toMatchObject([{ state: 'cancelled' }])
    expect((await requester.events(task_id)).map(({ type }) => type)).toEqual(['task.requested', 'task.cancelled'])
  })

  test('a waiting task is CANCELLED within seconds, and says what goes on without it', async () => {
    const { task_id } = await requester.createProject('stalls-until-cancelled')
    const stream = await openEventStream(requester, task_id)
    await stream.until('task.waiting')
    const asked = performance.now()
    const answer = await requester.send('POST', `/tasks/${task_id}/cancel`)
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({ message: expect.stringContaining('Project stalls-until-cancelled') })
    await stream.until('task.cancelled')
    expect(performance.now() - asked).toBeLessThan(3_000)

    const task = await requester.task(task_id)
    expect(task).toMatchObject({ status: 'CANCELLED', error: { code: 'cancelled' } })
    expect(task.error?.detail).toContain('goes on in cluster default')
    expect(await database.waitsOf(task_id)).toBe(0)
    expect((await cluster.projects()).map(({ metadata }) => metadata.name)).toContain('stalls-until-cancelled')

    const again = await requester.send('POST', `/tasks/${task_id}/cancel`)
    expect(again.status).toBe(202)
    expect((await requester.events(task_id)).filter(({ type }) => type === 'task.cancelled')).toHaveLength(1)
  })

  test('a task that has ended otherwise is refused with 409', async () => {
    const { task_id } = await requester.createProject('too-late')
    await requester.end(task_id)
    const answer = await requester.send('POST', `/tasks/${task_id}/cancel`)
    expect(answer.status).toBe(409)
    expect(problemOf(answer)).toMatchObject({ code: 'already_ended' })
  })

  test('is for whoever asked for the task, and for an admin', async () => {
    const { task_id } = await requester.createProject('stalls-for-others')
    const refused = await sluice.as('approver').send('POST', `/tasks/${task_id}/cancel`)
    expect(refused.status).toBe(403)
    expect(problemOf(refused)).toMatchObject({ code: 'forbidden' })
    expect((await sluice.as('admin').send('POST', `/tasks/${task_id}/cancel`)).status).toBe(202)
    const task = await requester.end(task_id)
    expect(task.error?.detail).toContain('Cancelled by admin')
  })
})
