import { QueryObserver, type QueryClient } from '@tanstack/react-query'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startStubApi, type StubApi } from '../../test/helpers/stub-api.ts'
import { until } from '../../test/helpers/until.ts'
import { createClient, type SluiceClient } from '../client/index.ts'
import type { TaskEvent } from '../contract/event.ts'
import type { Task, TaskPage } from '../contract/task.ts'
import { createLiveUpdates, type LiveUpdates } from './live-updates.ts'
import { taskKeys } from './query-keys.ts'
import { createQueryClient } from './sluice-provider.tsx'

let api: StubApi
let client: SluiceClient
let queryClient: QueryClient
let updates: LiveUpdates
let leave: (() => void)[]

beforeEach(async () => {
  api = await startStubApi()
  client = createClient({ baseUrl: api.url, token: 'secret', backoff: () => 5 })
  queryClient = createQueryClient()
  const intervals = { listIntervalMs: 30, detailIntervalMs: 10 }
  updates = createLiveUpdates({ connect: () => client.live(), queryClient, ...intervals })
  leave = []
})
afterEach(async () => {
  updates.stop()
  for (const end of leave) end()
  queryClient.clear()
  await api.stop()
})

/** What a mounted list, task and timeline do, without a page around them. */
function look(taskId: string) {
  const list = new QueryObserver<TaskPage>(queryClient, {
    queryKey: taskKeys.list({}),
    queryFn: ({ signal }) => client.listTasks({}, { signal }),
  })
  const detail = new QueryObserver<Task>(queryClient, {
    queryKey: taskKeys.detail(taskId),
    queryFn: ({ signal }) => client.getTask(taskId, { signal }),
  })
  const timeline = new QueryObserver<TaskEvent[]>(queryClient, {
    queryKey: taskKeys.timeline(taskId),
    queryFn: ({ signal }) => client.taskEvents(taskId, { signal }),
  })
  leave.push(...[list, detail, timeline].map((observer) => observer.subscribe(() => {})))
  return {
    list: () => list.getCurrentResult().data?.items.map((task) => task.status),
    status: () => detail.getCurrentResult().data?.status,
    timeline: () => timeline.getCurrentResult().data?.map((event) => event.seq),
  }
}

/** Connected, and the subscription taken up: whatever happens now is told. */
const isSubscribed = () => updates.state === 'open' && api.store.followers() > 0

const listReads = () =>
  api.requests.filter(({ line }) => line.startsWith('GET /api/v1/tasks?') || line === 'GET /api/v1/tasks')

describe('live updates', () => {
  test('bring a new task, a move and an event into the views', async () => {
    const { task_id } = api.store.add()
    const view = look(task_id)
    updates.start()
    await until(() => isSubscribed() && view.timeline()?.length === 1)
    api.store.add()
    await until(() => view.list()?.length === 2)
    api.store.append(task_id, 'task.started')
    api.store.append(task_id, 'task.completed')
    await until(
      () => view.status() === 'COMPLETED' && view.list()?.[1] === 'COMPLETED' && view.timeline()?.length === 3,
    )
    expect(view.timeline()).toEqual(['1', '3', '4'])
  })

  test('show a task that is looked at in the list in the same state, and none that is not looked at any more', async () => {
    const { task_id } = api.store.add()
    // Read once, by a panel that was closed since, when it was still PENDING.
    const unseen = api.store.add({ status: 'RUNNING' })
    queryClient.setQueryData(taskKeys.detail(unseen.task_id), { ...unseen, status: 'PENDING' })
    // A list that nobody looks at is not read again: what is in it afterwards was put there.
    const kept = taskKeys.list({ q: 'kept' })
    queryClient.setQueryData(kept, await client.listTasks())
    const view = look(task_id)
    updates.start()
    await until(() => isSubscribed() && view.list()?.length === 2)
    api.store.append(unseen.task_id, 'task.progress')
    api.store.append(task_id, 'task.started')
    const statuses = () => queryClient.getQueryData<TaskPage>(kept)?.items.map((task) => task.status)
    await until(() => statuses()?.[1] === 'RUNNING')
    expect(statuses()).toEqual(['RUNNING', 'RUNNING'])
  })

  test('show what happened between the first reading and the subscription', async () => {
    const { task_id } = api.store.add()
    const view = look(task_id)
    await until(() => view.status() === 'PENDING' && view.timeline()?.length === 1)
    api.store.append(task_id, 'task.completed')
    updates.start()
    await until(() => view.status() === 'COMPLETED' && view.timeline()?.length === 2)
  })

  test('show what happened while the connection was gone', async () => {
    const { task_id } = api.store.add()
    const view = look(task_id)
    updates.start()
    await until(() => isSubscribed() && view.timeline()?.length === 1)
    await api.stop()
    await until(() => updates.state === 'reconnecting')
    api.store.append(task_id, 'task.started')
    await api.start()
    await until(() => view.status() === 'RUNNING' && view.timeline()?.length === 2)
  })

  test('read everything again after a reset', async () => {
    const { task_id } = api.store.add()
    const view = look(task_id)
    updates.start()
    await until(() => isSubscribed() && view.timeline()?.length === 1)
    await api.stop()
    for (let n = 0; n < 10; n++) api.store.append(task_id, 'task.progress')
    api.store.oldestCursor = 10
    await api.start()
    await until(() => view.timeline()?.length === 11)
  })

  test('read the list at most once per interval, however many events come, and see the last one', async () => {
    const { task_id } = api.store.add()
    const view = look(task_id)
    updates.start()
    await until(() => isSubscribed() && view.timeline()?.length === 1)
    const before = listReads().length
    const began = Date.now()
    for (let n = 0; n < 2000; n++) api.store.append(task_id, 'task.progress')
    api.store.append(task_id, 'task.completed')
    await until(() => view.list()?.[0] === 'COMPLETED' && view.timeline()?.length === 2002)
    const possible = Math.ceil((Date.now() - began) / 30) + 1
    expect(listReads().length - before).toBeLessThanOrEqual(possible)
  })

  test('stop for good, and can be started again', async () => {
    const { task_id } = api.store.add()
    const view = look(task_id)
    updates.start()
    updates.start()
    await until(() => isSubscribed() && api.sockets.size === 1)
    updates.stop()
    updates.stop()
    await until(() => api.sockets.size === 0)
    updates.start()
    api.store.append(task_id, 'task.completed')
    await until(() => view.status() === 'COMPLETED')
  })
})

describe('an expired session', () => {
  test('is noticed by whatever is answered with 401', async () => {
    let asked = 0
    const me = new QueryObserver(queryClient, { queryKey: ['sluice', 'session', 'me'], queryFn: () => ++asked })
    leave.push(me.subscribe(() => {}))
    await until(() => asked === 1)
    api.tokens.clear()
    look('task_x')
    await until(() => asked === 2)
  })
})
