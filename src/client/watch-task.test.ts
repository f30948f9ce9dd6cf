import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startStubApi, type StubApi } from '../../test/helpers/stub-api.ts'
import { until } from '../../test/helpers/until.ts'
import type { TaskEvent } from '../contract/event.ts'
import { createClient, type SluiceClient } from './create-client.ts'
import { UnreachableError } from './sluice-problem.ts'

let api: StubApi
let client: SluiceClient

beforeEach(async () => {
  api = await startStubApi()
  client = createClient({ baseUrl: api.url, token: 'secret', backoff: () => 5 })
})
afterEach(() => api.stop())

/** Collects in the background; `events` grows as they arrive. */
function collect(stream: AsyncIterable<TaskEvent>) {
  const events: string[] = []
  const done = (async () => {
    for await (const event of stream) events.push(`${event.seq} ${event.type}`)
    return events
  })()
  return { events, done }
}

describe('watching a task', () => {
  test('gives the timeline from its beginning and ends after the terminal event', async () => {
    const { task_id } = api.store.add()
    const { events, done } = collect(client.watchTask(task_id))
    await until(() => events.length === 1)
    api.store.append(task_id, 'task.started')
    api.store.append(task_id, 'task.completed')
    expect(await done).toEqual(['1 task.requested', '2 task.started', '3 task.completed'])
  })

  test('misses and repeats nothing over a hundred broken connections', async () => {
    const { task_id } = api.store.add()
    const { events, done } = collect(client.watchTask(task_id))
    for (let n = 1; n <= 100; n++) {
      await until(() => events.length === n)
      // Half of the cuts come before the event, so that it must be fetched by the resume.
      if (n % 2 === 0) api.cut()
      api.store.append(task_id, 'task.progress')
      if (n % 2 === 1) api.cut()
    }
    api.store.append(task_id, 'task.completed')
    const types = Array.from({ length: 100 }, (_, n) => `${n + 2} task.progress`)
    expect(await done).toEqual(['1 task.requested', ...types, '102 task.completed'])
  })

  test('goes on after the event that the caller names', async () => {
    const { task_id } = api.store.add()
    api.store.append(task_id, 'task.started')
    api.store.append(task_id, 'task.completed')
    const { done } = collect(client.watchTask(task_id, { lastEventId: '2' }))
    expect(await done).toEqual(['3 task.completed'])
  })

  test('ends when asked to go on after the terminal event', async () => {
    const { task_id } = api.store.add()
    api.store.append(task_id, 'task.completed')
    expect(await collect(client.watchTask(task_id, { lastEventId: '2' })).done).toEqual([])
  })

  test('ends with the reason when the signal aborts', async () => {
    const abort = new AbortController()
    const { events, done } = collect(client.watchTask(api.store.add().task_id, { signal: abort.signal }))
    await until(() => events.length === 1)
    abort.abort(new Error('enough'))
    await expect(done).rejects.toThrow('enough')
  })

  test('leaves no connection behind when the caller stops reading', async () => {
    const { task_id } = api.store.add()
    let closed = false
    api.faults.push((_request, response) => {
      response.on('close', () => (closed = true))
      return false
    })
    for await (const event of client.watchTask(task_id)) if (event.type === 'task.requested') break
    await until(() => closed)
  })

  test('ends at once where the server refuses, and after giveUpAfterMs where nobody answers', async () => {
    await expect(collect(client.watchTask('task_nowhere')).done).rejects.toMatchObject({ status: 404 })
    await api.stop()
    const alone = collect(client.watchTask('task_nowhere', { giveUpAfterMs: 30 })).done
    await expect(alone).rejects.toThrow(UnreachableError)
    await api.start()
  })
})
