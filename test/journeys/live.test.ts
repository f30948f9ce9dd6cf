import { beforeAll, describe, expect, test } from 'vitest'
import type { Api } from './support/api.ts'
import { openEventStream } from './support/event-stream.ts'
import { openLiveSocket } from './support/live-socket.ts'
import { openSimulatedCluster, type SimulatedCluster } from './support/simulated-cluster.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

let sluice: SluiceProcess
let requester: Api
let cluster: SimulatedCluster

beforeAll(async () => {
  sluice = await startSluiceProcess(await makeDataDir())
  requester = sluice.as('requester')
  cluster = await openSimulatedCluster(sluice.kubeconfig)
}, startDeadlineMs)

describe('server-sent events', () => {
  test('a connection that breaks goes on after the last event seen: nothing is missed, nothing comes twice', async () => {
    await cluster.hold('resumed')
    const { task_id } = await requester.createProject('resumed')
    const first = await openEventStream(requester, task_id)
    await first.until('task.started')
    const waiting = await first.until('task.waiting')
    await first.close()
    await cluster.letGo()
    const second = await openEventStream(requester, task_id, waiting.seq)
    expect((await second.rest()).map(({ type }) => type)).toEqual(['task.completed'])
  })

  test('after the last event there is nothing to come back for: 204 sends an EventSource away', async () => {
    const { task_id } = await requester.createProject('over')
    await requester.end(task_id)
    const events = await requester.events(task_id)
    const late = await openEventStream(requester, task_id, events.at(-1)?.seq)
    expect(late.status).toBe(204)
    const afterwards = await openEventStream(requester, task_id)
    expect(await afterwards.rest()).toEqual(events)
  })
})

describe('the WebSocket', () => {
  test('shows every task as it moves, and after a break goes on from its cursor: no gap, no repeat', async () => {
    const before = await openLiveSocket(requester)
    before.send({ subscribe: { id: 'all', kind: 'tasks' } })
    expect(await before.next()).toMatchObject({ subscription: 'all', ready: true })
    await cluster.hold('interrupted')
    const { task_id } = await requester.createProject('interrupted')
    const seen = await before.until(task_id, 'task.waiting')
    before.cut()

    // Happens while nobody is connected.
    const missed = await requester.createProject('unseen')
    await requester.end(missed.task_id)
    await cluster.letGo()
    await requester.end(task_id)
    const after = await openLiveSocket(requester)
    after.send({ subscribe: { id: 'all', kind: 'tasks' }, cursor: seen.at(-1)?.cursor })
    const last = await requester.createProject('seen-again')
    seen.push(...(await after.until(last.task_id, 'task.completed')))
    after.cut()

    for (const id of [task_id, missed.task_id, last.task_id]) {
      const shown = seen.filter(({ subject }) => subject === id).map(({ data }) => data)
      expect(shown).toEqual(await requester.events(id))
    }
    const cursors = seen.map(({ cursor }) => BigInt(cursor))
    expect(cursors).toEqual(cursors.toSorted((a, b) => (a < b ? -1 : 1)))
    expect(new Set(cursors).size).toBe(cursors.length)
  })

  test('one subscription is about one task, others on the same connection about theirs', async () => {
    const [mine, other] = [await requester.createProject('mine'), await requester.createProject('not-mine')]
    const socket = await openLiveSocket(requester)
    socket.send({ subscribe: { id: 'one', kind: 'task', task_id: mine.task_id }, cursor: '0' })
    const events = await socket.until(mine.task_id, 'task.completed')
    expect(new Set(events.map(({ subject }) => subject))).toEqual(new Set([mine.task_id]))
    expect(events[0]).toMatchObject({ specversion: '1.0', type: 'task.requested', subject: mine.task_id })
    await requester.end(other.task_id)
    socket.cut()
  })

  test('is not for strangers', async () => {
    await expect(openLiveSocket({ ...requester, token: 'x'.repeat(43) })).rejects.toThrow('401')
  })

  test('says what it does not understand', async () => {
    const socket = await openLiveSocket(requester)
    socket.send({ subscribe: { id: 'odd', kind: 'weather' } })
    expect(await socket.next()).toMatchObject({ error: { code: 'malformed_request' } })
    socket.cut()
  })
})
