import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CloudEvent } from '../../src/contract/live.ts'
import type { Task } from '../../src/contract/task.ts'
import { connectClusters, type Clusters } from '../../src/kubernetes/clusters.ts'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { createWatchHub, type WatchHub } from '../../src/kubernetes/watch-hub.ts'
import { projectCreate } from '../../src/operations/project/project-create.ts'
import { PermanentError } from '../../src/operations/errors.ts'
import { createPlatform } from '../../src/platform/create-platform.ts'
import type { Platform } from '../../src/platform/platform.ts'
import { startTestApi, type TestApi } from '../helpers/api.ts'
import { type GovernedCore, startGovernedCore } from '../helpers/governed-core.ts'
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from '../helpers/otlp-collector.ts'
import { type RecordingProxy, startRecordingProxy } from '../helpers/recording-proxy.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { until } from '../helpers/until.ts'
import { startWorker, testOperation } from '../helpers/worker.ts'
import { accepted, type Api, connectApi, taskOf } from './support/api.ts'
import { openLiveSocket } from './support/live-socket.ts'
import { startDeadlineMs } from './support/program.ts'
import { startRole } from './support/role.ts'

const policy = `version: 1
rules:
  - { name: guarded, when: 'operation == "project.create" && input.organization == "guarded"', approval: {} }
  - { name: rest, allow: true }`

const failing = testOperation({
  type: 'test.fails',
  perform: async () => {
    throw new PermanentError('as planned', { code: 'planned' })
  },
})

let collector: OtlpCollector
let simulated: SimulatedCluster
let kubernetes: RecordingProxy
let platform: Platform
let core: GovernedCore
let clusters: Clusters
let hub: WatchHub
let api: TestApi
let worker: Awaited<ReturnType<typeof startWorker>>
let receiver: Server
let requester: Api
let approver: Api
const lines: Record<string, unknown>[] = []
const delivered: IncomingHttpHeaders[] = []

// The parts of Sluice, joined as main.ts joins them; here so that a webhook may reach loopback.
beforeAll(async () => {
  collector = await startOtlpCollector()
  simulated = await startSimulatedCluster()
  kubernetes = await startRecordingProxy(simulated.url)
  platform = createPlatform({
    tracer: { adapter: 'opentelemetry', endpoint: collector.endpoint, exportEveryMs: 20 },
    logger: { adapter: 'pino', level: 'debug', destination: { write: (line) => lines.push(JSON.parse(line)) } },
  })
  await platform.start()
  const { tracer, logger } = platform
  core = await startGovernedCore(policy, { tracer })
  const kubeconfig = simulated.kubeconfig().replace(/server: \S+/, `server: ${kubernetes.url}`)
  clusters = connectClusters([{ name: 'default', kubeconfig, simulated: true }], { tracer })
  hub = createWatchHub({ cluster: clusters.get, logger })
  const shared = {
    tracer,
    logger,
    hub,
    mayReach: () => true,
    cluster: (tenant: string, name: string) => clusters.get(clusters.keyFor(tenant, name)),
    clusterKey: clusters.keyFor,
  }
  const operations = [projectCreate, failing]
  api = await startTestApi(core, operations, shared)
  worker = await startWorker(core, operations, { ...shared, secrets: api.services.secrets })
  const url = await api.app.listen({ port: 0 })
  requester = connectApi(url, api.tokens.requester)
  approver = connectApi(url, api.tokens.approver)
  receiver = createServer((request, response) => {
    delivered.push(request.headers)
    request.resume()
    response.end()
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  // A TCP server's address is never a pipe's string.
  const hook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  await api.as('admin', 'POST /webhooks', { url: hook, kinds: ['task_ended'] })
})
afterAll(async () => {
  await worker?.stop()
  await api?.stop()
  await hub?.stop()
  await clusters?.stop()
  await core?.stop()
  await platform?.stop()
  receiver?.close()
  await kubernetes?.stop()
  await simulated?.stop()
  await collector?.stop()
})

/** A span of a caller that traces, too. */
function remoteSpan() {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  return { traceId, spanId, header: { traceparent: `00-${traceId}-${spanId}-01` } }
}

/** The spans of a trace, once those with these names have arrived. */
async function spansOf(traceId: string, names: readonly string[]): Promise<CollectedSpan[]> {
  const found = () => collector.spans.filter((span) => span.traceId === traceId)
  await until(() => names.every((name) => found().some((span) => span.name === name))).catch(() => {
    throw new Error(
      `missing of ${names.join(', ')}: there are ${found()
        .map(({ name }) => name)
        .join(', ')}`,
    )
  })
  return found()
}

const named = (spans: readonly CollectedSpan[], name: string): CollectedSpan => {
  const span = spans.find((one) => one.name === name)
  if (!span) throw new Error(`there is no span ${name}`)
  return span
}

const createProject = (who: Api, organization: string, headers: Record<string, string>) =>
  who.send('POST', '/projects', { body: { name: `p-${randomUUID().slice(0, 8)}`, organization }, headers })

describe('one trace id from the request to the end', () => {
  test('over HTTP, acceptance, attempt, Kubernetes, finish, settle and webhook, and back to the caller', async () => {
    const browser = remoteSpan()
    const live = await openLiveSocket(requester)
    live.send({ subscribe: { id: 'all', kind: 'tasks' } })
    await live.next()
    const answer = await createProject(requester, 'acme', browser.header)
    const { task_id } = accepted(answer)
    expect(answer.headers.get('traceparent')).toMatch(new RegExp(`^00-${browser.traceId}-[0-9a-f]{16}-01$`))
    expect(answer.headers.get('server-timing')).toBe(`traceparent;desc="${answer.headers.get('traceparent')}"`)
    expect(await requester.end(task_id)).toMatchObject({ status: 'COMPLETED', trace_id: browser.traceId })

    const spans = await spansOf(browser.traceId, [
      'POST /api/v1/projects',
      'accept project.create',
      'attempt project.create',
      'kubernetes PATCH',
      'finish project.create',
      'kubernetes GET',
      'deliver standard',
    ])
    const [request, accept] = [named(spans, 'POST /api/v1/projects'), named(spans, 'accept project.create')]
    const [attempt, finish] = [named(spans, 'attempt project.create'), named(spans, 'finish project.create')]
    expect(request).toMatchObject({ kind: 'server', parentSpanId: browser.spanId })
    expect(request.attributes).toMatchObject({ 'http.response.status_code': 202, 'sluice.task.id': task_id })
    expect(accept).toMatchObject({ kind: 'producer', parentSpanId: request.spanId })
    expect(attempt).toMatchObject({ kind: 'consumer', parentSpanId: accept.spanId })
    expect(named(spans, 'kubernetes PATCH')).toMatchObject({ kind: 'client', parentSpanId: attempt.spanId })
    expect(finish).toMatchObject({ kind: 'consumer', parentSpanId: attempt.spanId })
    const settled = spans.filter(({ name }) => name === 'settle').map(({ parentSpanId }) => parentSpanId)
    expect(settled).toEqual(expect.arrayContaining([attempt.spanId, finish.spanId]))
    expect(named(spans, 'deliver standard')).toMatchObject({ kind: 'client', parentSpanId: accept.spanId })
    for (const { attributes } of [attempt, finish, named(spans, 'deliver standard')]) {
      expect(attributes['sluice.task.id']).toBe(task_id)
    }

    // What is called is told the trace.
    const patch = kubernetes.requests.find(({ method }) => method === 'PATCH')
    // A watch is everybody's: it belongs to nobody's trace.
    const watches = kubernetes.requests.filter(({ path }) => /[?&](watch|limit)=/.test(path))
    expect(watches.length).toBeGreaterThan(0)
    expect(watches.filter(({ headers }) => 'traceparent' in headers)).toEqual([])
    expect(patch?.headers['traceparent']).toBe(`00-${browser.traceId}-${named(spans, 'kubernetes PATCH').spanId}-01`)
    expect(delivered.at(-1)?.['traceparent']).toBe(
      `00-${browser.traceId}-${named(spans, 'deliver standard').spanId}-01`,
    )
    const events: CloudEvent[] = await live.until(task_id, 'task.completed')
    expect(events[0]).toMatchObject({
      type: 'task.requested',
      traceparent: `00-${browser.traceId}-${accept.spanId}-01`,
    })
    live.cut()
  })

  test('a job carries the id of its event and nothing else; the trace stands in the log', async () => {
    const { traceId, header } = remoteSpan()
    const { task_id } = accepted(await createProject(requester, 'acme', header))
    await requester.end(task_id)
    const { rows: jobs } = await core.database.pool.query<{ data: object }>(
      `select data from pgboss.job where name in ('sluice-short', 'sluice-long', 'sluice-finish', 'sluice-deliver')`,
    )
    expect(jobs.length).toBeGreaterThan(2)
    for (const { data } of jobs) expect(Object.keys(data)).toEqual(['eventId'])
    const [requested] = await requester.events(task_id)
    expect(requested?.data['traceparent']).toContain(traceId)
  })

  test('a request without a trace, or with one that is none, begins one; every answer names it', async () => {
    for (const traceparent of [undefined, 'nonsense', `00-${'0'.repeat(32)}-b7ad6b7169203331-01`]) {
      const answer = await requester.send('GET', '/tasks', { headers: { ...(traceparent && { traceparent }) } })
      expect(answer.headers.get('traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
      expect(answer.headers.get('traceparent')).not.toContain('0'.repeat(32))
    }
    const { traceId, header } = remoteSpan()
    const missing = await requester.send('GET', '/nowhere', { headers: header })
    expect(missing.body).toMatchObject({ code: 'not_found', trace_id: traceId })
  })

  test('an approval of later joins by links: its own trace points to the request, the attempt to it', async () => {
    const [asked, decided] = [remoteSpan(), remoteSpan()]
    const { task_id, links } = accepted(await createProject(requester, 'guarded', asked.header))
    const ticket = await approver.send('GET', (links.ticket ?? '').replace('/api/v1', ''))
    const { payload_hash } = ticket.body as { payload_hash: string }
    const approval = await approver.send('POST', `${(links.ticket ?? '').replace('/api/v1', '')}/approve`, {
      body: { payload_hash },
      headers: decided.header,
    })
    expect(approval.status).toBe(200)
    expect((approval.body as { task: Task }).task.trace_id).toBe(asked.traceId)
    expect(await requester.end(task_id)).toMatchObject({ status: 'COMPLETED', trace_id: asked.traceId })

    const request = await spansOf(asked.traceId, [
      'accept project.create',
      'attempt project.create',
      'deliver standard',
    ])
    const decision = named(await spansOf(decided.traceId, ['approve ticket']), 'approve ticket')
    const [accept, attempt] = [named(request, 'accept project.create'), named(request, 'attempt project.create')]
    expect(decision.linkedSpanIds).toEqual([accept.spanId])
    expect(decision.linkedTraceIds).toEqual([asked.traceId])
    expect(attempt).toMatchObject({ traceId: asked.traceId, parentSpanId: accept.spanId })
    expect(attempt.linkedSpanIds).toEqual([decision.spanId])
    expect(attempt.linkedTraceIds).toEqual([decided.traceId])
  })

  test('a failed task names its trace in the error; one that tries it again points to it', async () => {
    const [first, second] = [remoteSpan(), remoteSpan()]
    const body = { operation: 'test.fails', input: { name: 'x' } }
    const failed = accepted(await requester.send('POST', '/tasks', { body, headers: first.header }))
    const task = await requester.end(failed.task_id)
    expect(task.error).toMatchObject({ code: 'planned', trace_id: first.traceId })
    const attempt = named(await spansOf(first.traceId, ['attempt test.fails']), 'attempt test.fails')
    expect(attempt.failed).toBe(true)
    const again = accepted(await requester.send('POST', `/tasks/${failed.task_id}/retry`, { headers: second.header }))
    await requester.end(again.task_id)
    const spans = await spansOf(second.traceId, ['accept test.fails', 'attempt test.fails'])
    expect(named(spans, 'accept test.fails').linkedTraceIds).toEqual([first.traceId])
  })

  test('the items of a batch share the trace of its request', async () => {
    const { traceId, header } = remoteSpan()
    const items = ['a', 'b'].map((name) => ({ operation: 'test.fails', input: { name } }))
    const batch = await requester.send('POST', '/tasks/bulk', { body: { items }, headers: header })
    expect(batch.status).toBe(202)
    await until(async () => {
      const spans = await spansOf(traceId, ['accept batch'])
      return spans.filter(({ name }) => name === 'attempt test.fails').length === 2
    })
  })
})

describe('log lines carry the trace and the task', () => {
  test('of the request, the attempt, the wait and the delivery', async () => {
    const { traceId, header } = remoteSpan()
    const { task_id } = accepted(await createProject(requester, 'acme', header))
    await requester.end(task_id)
    const wanted = ['request answered', 'attempt ended', 'wait looked at', 'delivery tried']
    const found = () => lines.filter((line) => line['traceId'] === traceId && line['taskId'] === task_id)
    await until(() => wanted.every((message) => found().some((line) => line['message'] === message)))
    expect(found().find((line) => line['message'] === 'attempt ended')).toMatchObject({
      operation: 'project.create',
      outcome: 'waiting',
    })
  })

  test('of a request about a task', async () => {
    const { traceId, header } = remoteSpan()
    const { task_id } = accepted(await createProject(requester, 'acme', {}))
    await requester.send('GET', `/tasks/${task_id}`, { headers: header })
    const line = () => lines.find((one) => one['traceId'] === traceId && one['message'] === 'request answered')
    await until(() => line() !== undefined)
    expect(line()).toMatchObject({ method: 'GET', route: '/api/v1/tasks/:task_id', status: 200, taskId: task_id })
  })
})

describe('an API and a worker in processes of their own', () => {
  test(
    'send the spans of one task under one trace id',
    async () => {
      const { url: databaseUrl } = await createTestDatabase()
      const tracer = (serviceName: string) => ({
        tracer: { adapter: 'opentelemetry' as const, endpoint: collector.endpoint, exportEveryMs: 20, serviceName },
      })
      const shared = { databaseUrl, kubeconfig: simulated.kubeconfig() }
      const [first, second] = await Promise.all([
        startRole({ ...shared, role: 'api', platform: tracer('the api') }),
        startRole({ ...shared, role: 'worker', platform: tracer('the worker') }),
      ])
      const { traceId, header } = remoteSpan()
      const { task_id } = accepted(await createProject(first.as('requester'), 'acme', header))
      expect(taskOf(await first.as('requester').send('GET', `/tasks/${task_id}?wait=20`)).trace_id).toBe(traceId)
      const spans = await spansOf(traceId, ['accept project.create', 'finish project.create', 'kubernetes PATCH'])
      const of = (service: string) => spans.filter((span) => span.service === service).map(({ name }) => name)
      expect(of('the api')).toEqual(expect.arrayContaining(['POST /api/v1/projects', 'accept project.create']))
      expect(of('the worker')).toEqual(
        expect.arrayContaining(['attempt project.create', 'kubernetes PATCH', 'finish project.create', 'settle']),
      )
      await Promise.all([first.stop(), second.stop()])
    },
    startDeadlineMs,
  )
})
