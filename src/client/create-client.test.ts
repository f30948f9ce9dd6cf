import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startStubApi, type StubApi } from '../../test/helpers/stub-api.ts'
import { stubProblem } from '../../test/helpers/stub-store.ts'
import { until } from '../../test/helpers/until.ts'
import { createClient, type SluiceClient } from './create-client.ts'
import { SluiceProblem, UnreachableError } from './sluice-problem.ts'

let api: StubApi
let client: SluiceClient
const backoff = () => 5

beforeEach(async () => {
  api = await startStubApi()
  client = createClient({ baseUrl: api.url, token: 'secret', backoff })
})
afterEach(() => api.stop())

describe('asking for a change', () => {
  test('is accepted with an id that leads to the task', async () => {
    const accepted = await client.submit('project.create', { name: 'acme', organization: 'test' })
    const task = await client.getTask(accepted.task_id)
    expect(task).toMatchObject({ operation: 'project.create', status: 'PENDING', requested_by: 'requester' })
  })

  test('carries the options in the body and the headers of the contract', async () => {
    const task = { timeout_ms: 5000, labels: { team: 'core' } }
    await client.submit('project.create', { name: 'acme' }, { task, idempotencyKey: 'key-1', waitSeconds: 3 })
    const request = api.requests.at(-1)
    expect(request?.body).toEqual({ operation: 'project.create', input: { name: 'acme' }, task })
    expect(request?.headers).toMatchObject({ 'idempotency-key': 'key-1', prefer: 'wait=3' })
  })

  test('says why, where the program does', async () => {
    const explained = createClient({ baseUrl: api.url, token: 'secret', reason: 'Räumung, Q3' })
    await explained.submit('project.create', { name: 'acme' })
    const header = String(api.requests.at(-1)?.headers['sluice-reason'])
    expect([header, decodeURIComponent(header)]).toEqual(['R%C3%A4umung%2C%20Q3', 'Räumung, Q3'])
  })

  test('is repeated under one idempotency key when the connection breaks', async () => {
    api.faults.push((_request, response) => {
      api.faults.length = 0
      response.destroy()
      return true
    })
    await client.submit('project.create', { name: 'acme' })
    const keys = api.requests.map((request) => request.headers['idempotency-key'])
    expect(keys).toHaveLength(2)
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/)
    expect(keys[1]).toBe(keys[0])
  })

  test('that is refused says which field and why, and is not repeated', async () => {
    const refused = client.submit('project.create', { name: 'Not A Name' })
    await expect(refused).rejects.toThrow(SluiceProblem)
    await expect(refused).rejects.toMatchObject({
      status: 422,
      code: 'invalid_input',
      problem: { errors: [{ pointer: '/input/name' }] },
    })
    expect(api.requests).toHaveLength(1)
  })
})

describe('what goes wrong is told apart', () => {
  test('nobody listens: UnreachableError with the reason', async () => {
    await api.stop()
    const refused = client.getTask('task_x')
    await expect(refused).rejects.toThrow(UnreachableError)
    await expect(refused).rejects.toThrow(/ECONNREFUSED/)
    await api.start()
  })

  test('another program answers: UnreachableError, not a wrong object', async () => {
    const stranger = createServer((_request, response) => response.end('<html>It works!</html>'))
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve))
    // A TCP server's address is never a pipe's string.
    const { port } = stranger.address() as AddressInfo
    const asked = createClient({ baseUrl: `http://127.0.0.1:${port}`, token: 'secret' }).me()
    await expect(asked).rejects.toThrow(/not what this version of the client knows/)
    await new Promise((resolve) => stranger.close(resolve))
  })

  test('a proxy says 503 without a problem document: UnreachableError with its Retry-After', async () => {
    api.faults.push((_request, response) => {
      response.writeHead(503, { 'retry-after': '7' }).end('upstream is down')
      return true
    })
    await expect(client.me()).rejects.toMatchObject({ name: 'UnreachableError', retryAfterMs: 7000 })
  })

  test('a server that never answers is given up after the time limit', async () => {
    api.faults.push(() => true)
    const impatient = createClient({ baseUrl: api.url, token: 'secret', timeoutMs: 50 })
    await expect(impatient.me()).rejects.toThrow(/no answer within 0.05 s/)
  })

  test('the caller aborts: its own reason comes back', async () => {
    api.faults.push(() => true)
    const abort = new AbortController()
    const asked = client.me({ signal: abort.signal })
    await until(() => api.requests.length === 1)
    abort.abort(new Error('changed my mind'))
    await expect(asked).rejects.toThrow('changed my mind')
  })

  test('a wrong token: 401', async () => {
    await expect(createClient({ baseUrl: api.url, token: 'guess' }).me()).rejects.toMatchObject({ status: 401 })
  })
})

describe('lists', () => {
  test('page through everything once, newest first', async () => {
    const ids = Array.from({ length: 7 }, () => api.store.add().task_id).reverse()
    const seen: string[] = []
    let token: string | undefined
    do {
      const page = await client.listTasks({ page_size: 3, page_token: token })
      seen.push(...page.items.map((task) => task.task_id))
      token = page.next_page_token ?? undefined
    } while (token !== undefined)
    expect(seen).toEqual(ids)
  })

  test('repeat a filter that has several values', async () => {
    api.store.add({ status: 'RUNNING' })
    api.store.add({ status: 'WAITING' })
    api.store.add({ status: 'PENDING' })
    const page = await client.listTasks({ status: ['RUNNING', 'WAITING'] })
    expect(page.items.map((task) => task.status)).toEqual(['WAITING', 'RUNNING'])
  })
})

describe('waiting for a task', () => {
  test('resolves with the ended task, however it ended', async () => {
    const { task_id } = api.store.add()
    const waiting = client.waitForTask(task_id)
    await until(() => api.requests.some(({ line }) => line.includes('wait=25')))
    api.store.append(task_id, 'task.failed')
    expect(await waiting).toMatchObject({ status: 'FAILED', done: true, error: { code: 'stub' } })
  })

  test('outlives a restart of the server', async () => {
    const { task_id } = api.store.add()
    const waiting = client.waitForTask(task_id)
    await until(() => api.requests.length === 1)
    await api.stop()
    api.store.append(task_id, 'task.completed')
    await api.start()
    expect(await waiting).toMatchObject({ status: 'COMPLETED' })
  })

  test('ends at once when the server says that there is no such task', async () => {
    await expect(client.waitForTask('task_nowhere')).rejects.toMatchObject({ status: 404 })
  })

  test('ends when the signal aborts, also in the middle of a held answer', async () => {
    const abort = new AbortController()
    const waiting = client.waitForTask(api.store.add().task_id, { signal: abort.signal })
    await until(() => api.requests.length === 1)
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })

  test('ends when nobody has answered for giveUpAfterMs', async () => {
    const { task_id } = api.store.add()
    await api.stop()
    await expect(client.waitForTask(task_id, { giveUpAfterMs: 30 })).rejects.toThrow(UnreachableError)
    await api.start()
  })
})

describe('in a browser’s session', () => {
  /** As a browser sends its cookie along, whatever the page asks for. */
  const inSession = (cookie: { value: string }) =>
    createClient({
      baseUrl: api.url,
      backoff,
      fetch: (input, init) => {
        const headers = new Headers(init?.headers)
        headers.set('cookie', `sluice=${cookie.value}`)
        return fetch(input, { ...init, headers })
      },
    })
  const lines = () => api.requests.map(({ line }) => line.replace('/api/v1', ''))

  test('a change shows the session’s CSRF token, which whoever asked who they are has already', async () => {
    const browser = inSession({ value: 'secret' })
    await browser.me()
    await browser.submit('project.create', { name: 'acme' })
    expect(lines()).toEqual(['GET /me', 'POST /tasks'])
    expect(api.requests.at(-1)?.headers['sluice-csrf']).toBe('csrf of secret')
  })

  test('after a login elsewhere it is read again, once, and the change is sent once more', async () => {
    api.tokens.set('another', 'approver')
    const cookie = { value: 'secret' }
    const browser = inSession(cookie)
    await browser.me()
    cookie.value = 'another'
    await browser.submit('project.create', { name: 'acme' })
    expect(lines()).toEqual(['GET /me', 'POST /tasks', 'GET /me', 'POST /tasks'])
    expect(api.store.tasks.size).toBe(1)
  })

  test('a server that refuses it again is not asked a third time', async () => {
    api.faults.push((request, response) => {
      if (request.method === 'GET') return false
      response.writeHead(403, { 'content-type': 'application/problem+json' })
      response.end(JSON.stringify(stubProblem(403, 'No.', { code: 'csrf_refused' })))
      return true
    })
    const refused = inSession({ value: 'secret' }).submit('project.create', { name: 'acme' })
    await expect(refused).rejects.toMatchObject({ code: 'csrf_refused' })
    expect(lines()).toEqual(['POST /tasks', 'GET /me', 'POST /tasks'])
  })

  test('nothing of it with a bearer token', async () => {
    await client.submit('project.create', { name: 'acme' })
    expect(api.requests.at(-1)?.headers['sluice-csrf']).toBeUndefined()
  })
})
