import { randomBytes, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type OtlpCollector, startOtlpCollector } from '../../test/helpers/otlp-collector.ts'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { accept, testOperation } from '../../test/helpers/worker.ts'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { accepted, type Api, connectApi } from '../../test/journeys/support/api.ts'
import { openEventStream } from '../../test/journeys/support/event-stream.ts'
import { startSimulatedCluster, type SimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { type RunningSluice, startSluice } from '../main.ts'
import { completed } from '../operations/define-operation.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'

let collector: OtlpCollector
let cluster: SimulatedCluster
let databaseUrl: string
let sluice: RunningSluice
let requester: Api
const release = Promise.withResolvers<void>()
const holds = testOperation({
  type: 'test.holds',
  perform: async () => {
    await release.promise
    return completed({})
  },
})

const token = () => randomBytes(32).toString('base64url')
const devTokens = { requester: token(), approver: token(), admin: token() }

beforeAll(async () => {
  collector = await startOtlpCollector()
  cluster = await startSimulatedCluster()
  databaseUrl = (await createTestDatabase()).url
  sluice = await startSluice({
    databaseUrl,
    port: 0,
    poolMax: 10,
    slots: 1,
    kubeconfig: cluster.kubeconfig(),
    simulated: true,
    devTokens,
    operations: [holds],
    platform: { pubsub: { adapter: 'pg-boss' } },
    publishEvents: {},
    metrics: {
      listen: { port: 0 },
      otlp: { endpoint: `${collector.url}/v1/metrics`, serviceName: 'sluice-test', exportEveryMs: 200 },
    },
    logger: createMemoryLogger(),
  })
  requester = connectApi(sluice.url, devTokens.requester)
})
afterAll(async () => {
  release.resolve()
  await sluice?.stop()
  await cluster?.stop()
  await collector?.stop()
})

const read = async (): Promise<string> => (await fetch(sluice.metricsUrl)).text()

/** The value of one line of Prometheus' text format; undefined when it is not there. */
async function value(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> {
  const lines = (await read()).split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  const found = lines.find((line) => Object.entries(labels).every(([key, is]) => line.includes(`${key}="${is}"`)))
  return found === undefined ? undefined : Number(found.slice(found.lastIndexOf(' ') + 1))
}
const patience = { timeout: 20_000, interval: 100 }

const createProject = async (): Promise<string> =>
  accepted(
    await requester.send('POST', '/projects', {
      body: { name: `p-${randomUUID().slice(0, 8)}`, organization: 'acme' },
    }),
  ).task_id

describe('what Prometheus reads', () => {
  test('acceptance, attempts, waits and tasks, counted and timed by operation and outcome', async () => {
    for (let i = 0; i < 3; i++) await requester.end(await createProject())
    const operation = 'project.create'
    expect(await value('sluice_accept_requests_total', { operation, outcome: 'accepted' })).toBe(3)
    expect(await value('sluice_accept_duration_count', { operation })).toBe(3)
    expect(await value('sluice_attempts_total', { operation, outcome: 'waiting' })).toBe(3)
    expect(await value('sluice_attempt_duration_count', { operation, outcome: 'waiting' })).toBe(3)
    await expect.poll(() => value('sluice_wait_duration_count', { operation, outcome: 'completed' }), patience).toBe(3)
    await expect.poll(() => value('sluice_task_duration_count', { operation, outcome: 'completed' }), patience).toBe(3)
    const took = await value('sluice_task_duration_sum', { operation, outcome: 'completed' })
    expect(took).toBeGreaterThan((await value('sluice_wait_duration_sum', { operation })) ?? Infinity)
    expect(took).toBeLessThan(60)
    expect(await value('sluice_accept_duration_bucket', { operation, le: '+Inf' })).toBe(3)
    expect(await value('sluice_feed_lag_count')).toBeGreaterThan(0)
    const labels = { http_request_method: 'POST', http_route: '/api/v1/projects', http_response_status_code: '202' }
    expect(await value('http_server_request_duration_count', labels)).toBe(3)
  })

  test('a live stream is no slow request', async () => {
    const task = await createProject()
    const stream = await openEventStream(requester, task)
    await stream.rest()
    await requester.end(task)
    expect(await value('http_server_request_duration_count', { http_route: '/api/v1/tasks/:task_id/events' })).toBe(
      undefined,
    )
  })

  test('queue depth and the oldest waiting, while the only slot is held', async () => {
    const body = { operation: 'test.holds', input: { name: 'x' } }
    for (let i = 0; i < 3; i++) accepted(await requester.send('POST', '/tasks', { body }))
    const queue = 'sluice-long'
    await expect.poll(() => value('sluice_queue_jobs', { queue, state: 'active' }), patience).toBe(1)
    await expect.poll(() => value('sluice_queue_jobs', { queue, state: 'ready' }), patience).toBe(2)
    await expect.poll(() => value('sluice_queue_oldest', { queue }), patience).toBeGreaterThan(1)
    expect(await value('sluice_queue_oldest', { queue: 'sluice-short' })).toBe(0)
    expect(await value('sluice_attempts_running')).toBe(1)
    release.resolve()
    await expect.poll(() => value('sluice_queue_oldest', { queue }), patience).toBe(0)
    await expect.poll(() => value('sluice_attempts_running'), patience).toBe(0)
  })

  test('watch reconnects', async () => {
    cluster.faults.controller({ mode: 'stall', kind: 'Project' })
    await createProject()
    await expect.poll(() => value('sluice_waits_watched'), patience).toBe(1)
    expect(await value('sluice_watch_state', { of: 'upstreams' })).toBeGreaterThan(0)
    const before = (await value('sluice_watch_reconnects_total')) ?? 0
    await expect.poll(async () => cluster.faults.cut(), patience).toBeGreaterThan(0)
    await expect.poll(() => value('sluice_watch_reconnects_total'), patience).toBeGreaterThan(before)
    cluster.faults.clear()
  })

  test('the delay of the event loop', async () => {
    await expect.poll(() => value('nodejs_eventloop_delay_max'), patience).toBeGreaterThan(0)
    const end = performance.now() + 1_500
    while (performance.now() < end);
    await expect.poll(() => value('nodejs_eventloop_delay_max'), patience).toBeGreaterThan(1)
    expect(await value('nodejs_eventloop_delay_p50')).toBeLessThan(0.2)
  })

  test('the pool, and what is not published yet', async () => {
    const used = (await value('db_client_connection_count', { state: 'used' })) ?? NaN
    const idle = (await value('db_client_connection_count', { state: 'idle' })) ?? NaN
    expect(used + idle).toBeGreaterThan(0)
    expect(await value('db_client_connection_pending_requests')).toBe(0)
    await expect.poll(() => value('sluice_events_unpublished'), patience).toBe(0)
  })

  test('nothing names a tenant, a person or a task', async () => {
    const text = await read()
    expect(text.length).toBeGreaterThan(2_000)
    expect(text).not.toMatch(/default|requester|task_0|tenant/)
  })
})

describe('who may read them', () => {
  test('not the API’s callers: they have an address of their own, on this machine only', async () => {
    for (const who of ['', devTokens.requester, devTokens.admin]) {
      const answer = await connectApi(sluice.url, who).send('GET', '//metrics')
      expect(answer.status).toBe(404)
      expect(JSON.stringify(answer.body)).not.toContain('sluice_')
    }
    expect(new URL(sluice.metricsUrl).hostname).toBe('127.0.0.1')
    expect(new URL(sluice.metricsUrl).port).not.toBe(new URL(sluice.url).port)
  })

  test('there is nothing else at that address', async () => {
    const { origin } = new URL(sluice.metricsUrl)
    const answer = await fetch(sluice.metricsUrl)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect((await fetch(`${origin}/`)).status).toBe(404)
    expect((await fetch(`${origin}/api/v1/tasks`)).status).toBe(404)
    expect((await fetch(sluice.metricsUrl, { method: 'POST' })).status).toBe(404)
  })

  test('a taken port ends the start with what to do', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => taken.once('listening', resolve))
    // A TCP server's address is never a pipe's string.
    const { port } = taken.address() as AddressInfo
    const starting = startSluice({ databaseUrl, port: 0, metrics: { listen: { port } }, logger: createMemoryLogger() })
    await expect(starting).rejects.toThrow(/Metrics cannot be served.*Choose another --metrics-port/)
    await new Promise((resolve) => taken.close(resolve))
  })
})

test('a collector is sent the same over OTLP', async () => {
  await expect.poll(async () => collector.metrics.get('sluice-test')?.has('sluice.task.duration'), patience).toBe(true)
  expect([...(collector.metrics.get('sluice-test') ?? [])]).toEqual(
    expect.arrayContaining([
      'http.server.request.duration',
      'nodejs.eventloop.delay.p99',
      'sluice.accept.duration',
      'sluice.accept.requests',
      'sluice.attempt.duration',
      'sluice.attempts',
      'sluice.feed.lag',
      'sluice.queue.jobs',
      'sluice.queue.oldest',
      'sluice.wait.duration',
      'sluice.watch.reconnects',
    ]),
  )
})

describe('what a reading costs', () => {
  let core: Core
  beforeAll(async () => {
    core = await startCore()
  })
  afterAll(() => core.stop())

  test('a few look-ups by index, however long the queue is', async () => {
    await Promise.all(Array.from({ length: 2_000 }, () => accept(core, noop)))
    const { pool } = core.database
    await pool.query('vacuum analyze pgboss.job_common')
    // The server's own count of what it read, told when a connection has been idle.
    const touched = async (): Promise<number> => {
      await pool.query('select pg_stat_force_next_flush()')
      const { rows } = await pool.query<{ n: string }>(
        `select (select seq_tup_read from pg_stat_user_tables where relname = 'job_common')
           + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'job_common') as n`,
      )
      return Number(rows[0]?.n)
    }
    const before = await touched()
    const gauges = await core.queue.gauges()
    expect(gauges.find(({ queue }) => queue === 'sluice-short')?.oldestS).toBeGreaterThan(0)
    for (let i = 0; i < 9; i++) await core.queue.gauges()
    expect((await touched()) - before).toBeLessThan(200)
  })

  test('nothing is loaded, and nothing listens, where nobody asked for it', async () => {
    const quiet = await startSluice({ databaseUrl, port: 0, poolMax: 5, logger: createMemoryLogger() })
    expect(quiet.metricsUrl).toBe('')
    await quiet.stop()
  })
})
