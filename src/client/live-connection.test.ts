import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startStubApi, type StubApi } from '../../test/helpers/stub-api.ts'
import { until } from '../../test/helpers/until.ts'
import { createClient, type SluiceClient } from './create-client.ts'
import { createLiveConnection, type LiveConnection } from './live-connection.ts'
import type { LiveSocket } from './reconnecting-socket.ts'

let api: StubApi
let client: SluiceClient
let live: LiveConnection

beforeEach(async () => {
  api = await startStubApi()
  client = createClient({ baseUrl: api.url, token: 'secret', backoff: () => 5 })
  live = client.live()
})
afterEach(async () => {
  live.stop()
  await api.stop()
})

function follow(to: { kind: 'tasks' } | { kind: 'task'; taskId: string } = { kind: 'tasks' }, cursor?: string) {
  const heard: string[] = []
  const onReady = vi.fn<(cursor: string) => void>()
  const onReset = vi.fn<(cursor: string) => void>()
  const onEvent = (event: { seq: string }) => heard.push(event.seq)
  const subscription = live.subscribe({ to, cursor, onEvent, onReady, onReset })
  return { heard, onReady, onReset, subscription }
}

describe('a live connection', () => {
  test('brings what happens from now on, to each subscription what it asked for', async () => {
    const before = api.store.add()
    const all = follow()
    const one = follow({ kind: 'task', taskId: before.task_id })
    await until(() => all.onReady.mock.calls.length + one.onReady.mock.calls.length === 2)
    api.store.add()
    api.store.append(before.task_id, 'task.started')
    await until(() => all.heard.length === 2 && one.heard.length === 1)
    expect(all.heard).toEqual(['2', '3'])
    expect(one.heard).toEqual(['3'])
  })

  test('resumes by cursor: a hundred broken connections, nothing missed, nothing twice', async () => {
    const all = follow()
    await until(() => all.onReady.mock.calls.length === 1)
    for (let n = 1; n <= 100; n++) {
      if (n % 2 === 0) api.cut()
      api.store.add()
      if (n % 2 === 1) api.cut()
      await until(() => all.heard.length === n)
    }
    expect(all.heard).toEqual(Array.from({ length: 100 }, (_, n) => String(n + 1)))
  })

  test('resumes where it was taken up even if no event came before the break', async () => {
    const all = follow()
    await until(() => all.onReady.mock.calls.length === 1)
    await api.stop()
    api.store.add()
    await api.start()
    await until(() => all.heard.length === 1)
    expect(all.heard).toEqual(['1'])
  })

  test('says when the cursor was too old, and goes on from the new one', async () => {
    for (let n = 0; n < 5; n++) api.store.add()
    api.store.oldestCursor = 4
    const all = follow({ kind: 'tasks' }, '2')
    await until(() => all.onReset.mock.calls.length === 1)
    expect(all.onReset).toHaveBeenCalledWith('5')
    api.store.add()
    await until(() => all.heard.length === 1)
    expect(all.heard).toEqual(['6'])
  })

  test('shows its state: open, reconnecting, open again, stopped', async () => {
    const states: string[] = []
    live.onStateChange((state) => states.push(state))
    await until(() => live.state === 'open')
    await api.stop()
    await until(() => live.state === 'reconnecting')
    await api.start()
    await until(() => live.state === 'open')
    live.stop()
    live.stop()
    expect(states).toEqual(['open', 'reconnecting', 'open', 'stopped'])
    await until(() => api.sockets.size === 0)
  })

  test('a stopped subscription hears nothing more', async () => {
    const first = follow()
    const second = follow()
    await until(() => second.onReady.mock.calls.length === 1)
    first.subscription.stop()
    first.subscription.stop()
    api.store.add()
    await until(() => second.heard.length === 1)
    expect(first.heard).toEqual([])
  })
})

describe('in a browser, where a token cannot travel with a WebSocket', () => {
  afterEach(() => vi.unstubAllGlobals())

  test('each connection asks for a pass first', async () => {
    vi.stubGlobal('document', {})
    const inBrowser = client.live()
    await until(() => inBrowser.state === 'open')
    api.cut()
    await until(() => api.requests.filter(({ line }) => line === 'POST /api/v1/live/passes').length >= 2)
    inBrowser.stop()
  })
})

describe('a connection that went dead without a word', () => {
  test('is replaced once the heartbeats stay away', async () => {
    const opened: LiveSocket[] = []
    const connect = () => {
      const socket: LiveSocket = { onopen: null, onmessage: null, onclose: null, send: () => {}, close: () => {} }
      opened.push(socket)
      return Promise.resolve(socket)
    }
    const connection = createLiveConnection({ connect, backoff: () => 1, silenceMs: 20 })
    await until(() => opened[0]?.onopen !== null)
    opened[0]?.onopen?.(new Event('open'))
    opened[0]?.onmessage?.(new MessageEvent('message', { data: '{"heartbeat":true}' }))
    await until(() => opened.length === 2)
    expect(connection.state).toBe('reconnecting')
    connection.stop()
  })
})
