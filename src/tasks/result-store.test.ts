import { createHash, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { startTestApi, type TestApi } from '../../test/helpers/api.ts'
import { accept, reached, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { startCore } from '../../test/helpers/core.ts'
import { taskSchema } from '../contract/task.ts'
import { toWireId } from '../contract/ids.ts'
import { type Clusters, connectClusters } from '../kubernetes/clusters.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { createWatchHub, type WatchHub } from '../kubernetes/watch-hub.ts'
import { completed, type Operation } from '../operations/define-operation.ts'
import { TransientError } from '../operations/errors.ts'
import { projectCreate } from '../operations/project/project-create.ts'
import { createPlatform } from '../platform/create-platform.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import type { ObjectStorage } from '../platform/object-storage.ts'
import type { Platform } from '../platform/platform.ts'
import { ServiceUnavailableError } from '../platform/platform-error.ts'
import { retain } from '../worker/housekeeping.ts'
import { createTaskExport } from './export-tasks.ts'
import { createResultStore, type ResultStore } from './result-store.ts'

let folder: string
let platform: Platform
let core: GovernedCore
let results: ResultStore
let api: TestApi
let base: string
let simulated: SimulatedCluster
let clusters: Clusters
let hub: WatchHub
let worker: Awaited<ReturnType<typeof startWorker>>

const large = { text: 'ä'.repeat(40_000), n: 1 }
const largeText = JSON.stringify(large)
const gigantic = 3 * 1024 * 1024

const makesLarge = testOperation({ type: 'test.large', perform: async () => completed(large) })
const makesSmall = testOperation({ type: 'test.small', perform: async () => completed({ text: 'x'.repeat(60_000) }) })
const fussy = testOperation({
  type: 'test.fussy',
  retry: { backoff: { initialMs: 0 } },
  perform: async ({ attempt, storeResult }) => {
    const result = await storeResult(`attempt ${attempt}`, { mediaType: 'text/plain' })
    if (attempt === 1) throw new TransientError('once more', { code: 'again' })
    return completed(result)
  },
})
const streams = testOperation({
  type: 'test.streams',
  perform: async ({ storeResult }) => {
    async function* chunks() {
      for (let sent = 0; sent < gigantic; sent += 1024) yield Buffer.alloc(1024, 'z')
    }
    return completed(await storeResult(chunks(), { mediaType: 'application/octet-stream' }))
  },
})
// A wait's result is made by `finish`, in whichever process ends the wait.
const waits: Operation = { ...projectCreate, finish: () => large }
const operations: readonly Operation[] = [makesLarge, makesSmall, fussy, streams, waits]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-results-'))
  const logger = createMemoryLogger()
  platform = createPlatform({
    objectStorage: { adapter: 'filesystem', directory: folder },
    logger: { adapter: 'own', service: logger },
  })
  await platform.start()
  core = await startGovernedCore('version: 1\nrules: [{ name: all, allow: true }]')
  const { database } = core
  results = createResultStore({ database, storage: platform.objectStorage, logger })
  const all = [...operations, createTaskExport({ database })]
  api = await startTestApi(core, all, { results })
  base = await api.app.listen({ port: 0 })
  simulated = await startSimulatedCluster()
  clusters = connectClusters([{ name: 'default', kubeconfig: simulated.kubeconfig(), simulated: true }])
  hub = createWatchHub({ cluster: clusters.get })
  worker = await startWorker(core, all, { results, hub, cluster: (_tenant, name) => clusters.get(name) })
})
afterAll(async () => {
  await worker.stop(0)
  await hub.stop()
  await clusters.stop()
  await simulated.stop()
  await api.stop()
  await core.stop()
  await platform.stop()
  await rm(folder, { recursive: true })
})

const run = async (operation: Operation) => {
  const taskId = await accept(core, operation)
  return reached(core, taskId)
}
const getResult = (taskId: string, headers: Record<string, string> = {}) =>
  fetch(`${base}/api/v1/tasks/${toWireId('task', taskId)}/result`, {
    headers: { authorization: `Bearer ${api.tokens.requester}`, ...headers },
  })
const objects = async () => (await platform.objectStorage.list({ prefix: 'results/' })).objects.map(({ key }) => key)
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

describe('results above 64 KiB', () => {
  test('go to the object storage; row, event and API hold where they are, and the bytes are streamed', async () => {
    const task = await run(makesLarge)
    const bytes = Buffer.byteLength(largeText)
    const reference = { $stored: { bytes, sha256: sha256(largeText), media_type: 'application/json' } }
    expect(task.result).toEqual(reference)
    const { rows } = await core.database.pool.query(
      `select payload->'result' as result from sluice.domain_events where task_id = $1 and type = 'task.completed'`,
      [task.task_id],
    )
    expect(rows).toEqual([{ result: reference }])
    const shown = taskSchema.parse((await api.as('requester', `GET /tasks/${toWireId('task', task.task_id)}`)).body)
    expect(shown.links.result).toBe(`/api/v1/tasks/${shown.task_id}/result`)
    const answer = await getResult(task.task_id)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('content-length')).toBe(String(bytes))
    expect(await answer.json()).toEqual(large)
    const etag = answer.headers.get('etag') ?? ''
    expect((await getResult(task.task_id, { 'if-none-match': etag })).status).toBe(304)
  })

  test('smaller ones stay in their row, and are answered at the same place', async () => {
    const before = await objects()
    const task = await run(makesSmall)
    expect(task.result).toEqual({ text: 'x'.repeat(60_000) })
    expect(await (await getResult(task.task_id)).json()).toEqual(task.result)
    expect(await objects()).toEqual(before)
  })

  test('an operation may stream one of any size and media type', async () => {
    const task = await run(streams)
    expect(task.result).toMatchObject({ $stored: { bytes: gigantic, media_type: 'application/octet-stream' } })
    const answer = await getResult(task.task_id)
    expect(answer.headers.get('content-type')).toBe('application/octet-stream')
    expect(answer.headers.get('content-disposition')).toBe('attachment')
    const bytes = Buffer.from(await answer.arrayBuffer())
    expect([bytes.byteLength, bytes.every((byte) => byte === 0x7a)]).toEqual([gigantic, true])
  })

  test('what an attempt stored that failed is not the result', async () => {
    const task = await run(fussy)
    expect(task).toMatchObject({ status: 'COMPLETED', attempt: 2 })
    expect(await (await getResult(task.task_id)).text()).toBe('attempt 2')
  })

  test('of a wait, made when the object is ready, go there too', async () => {
    const input = { name: 'large', organization: 'acme', cluster: 'default' }
    const task = await reached(core, await accept(core, waits, { input }))
    expect(task.result).toMatchObject({ $stored: { sha256: sha256(largeText) } })
    expect(await (await getResult(task.task_id)).json()).toEqual(large)
  })

  test('are their tenant’s alone', async () => {
    const task = await run(makesLarge)
    expect(await results.find('default', task.task_id)).toBeDefined()
    expect(await results.find('other', task.task_id)).toBeUndefined()
    const path = `/api/v1/tasks/${toWireId('task', task.task_id)}/result`
    const [nobody, elsewhere] = await Promise.all([
      fetch(`${base}${path}`),
      getResult(task.task_id, { 'sluice-tenant': 'other' }),
    ])
    expect([nobody.status, elsewhere.status]).toEqual([401, 404])
  })

  test('a task without a result answers 409, one that is not there 404', async () => {
    const pending = await accept(core, testOperation({ type: 'test.unknown-here', perform: async () => completed({}) }))
    expect((await getResult(pending)).status).toBe(409)
    expect((await getResult(randomUUID())).status).toBe(404)
  })
})

describe('an object storage that is not there', () => {
  const away = (): Promise<never> => Promise.reject(new ServiceUnavailableError('s3', 'away'))
  const broken: ObjectStorage = {
    capabilities: { presign: false },
    put: away,
    get: away,
    head: away,
    list: away,
    delete: away,
    presign: away,
  }

  test('costs the row its size, never the result', async () => {
    const logger = createMemoryLogger()
    const store = createResultStore({ database: core.database, storage: broken, logger })
    expect(await store.keep({ taskId: randomUUID(), tenant: 'default', attempt: 1 }, large)).toEqual(large)
    expect(logger.lines.map(({ message }) => message)).toEqual(['a large result could not be stored; its row holds it'])
  })

  test('is told to who asks for what it holds: 503, to be tried again', async () => {
    const task = await run(makesLarge)
    const store = createResultStore({ database: core.database, storage: broken, logger: createMemoryLogger() })
    for (const services of [{ results: store }, {}]) {
      const other = await startTestApi(core, operations, services)
      const answer = await other.as('requester', `GET /tasks/${toWireId('task', task.task_id)}/result`)
      expect(answer).toMatchObject({ status: 503, body: { code: 'result_unavailable', retryable: true } })
      await other.stop()
    }
  })

  test('an operation that streams its result fails, and says what is missing', async () => {
    const lone = testOperation({
      type: 'test.lone',
      perform: async ({ storeResult }) => completed(await storeResult('x')),
    })
    const bare = await startCore()
    const without = await startWorker(bare, [lone])
    expect((await reached(bare, await accept(bare, lone))).error).toMatchObject({ code: 'no_object_storage' })
    await without.stop(0)
    await bare.stop()
  })
})

describe('retention deletes a stored result with its task', () => {
  const options = () => ({ ...core, logger: createMemoryLogger(), workerId: 'test', graceMs: 0 })

  test('and not before; leftovers of other attempts go after a day', async () => {
    const task = await run(fussy)
    const of = (attempt: number) => `results/default/${task.task_id}/${attempt}`
    expect(await objects()).toEqual(expect.arrayContaining([of(1), of(2)]))
    expect(await results.dispose(30)).toBe(0)
    await core.database.pool.query(
      `update sluice.stored_results set created_at = now() - interval '2 days' where task_id = $1`,
      [task.task_id],
    )
    expect(await results.dispose(30)).toBe(1)
    expect(await objects()).toContain(of(2))
    expect(await objects()).not.toContain(of(1))

    await retain({ ...options(), retentionDays: -1 })
    expect(await results.dispose(-1)).toBeGreaterThan(0)
    expect((await objects()).filter((key) => key.includes(task.task_id))).toEqual([])
    const { rowCount } = await core.database.pool.query('select from sluice.stored_results where task_id = $1', [
      task.task_id,
    ])
    expect(rowCount).toBe(0)
  })
})

describe('an export of tasks', () => {
  test('is a task; its lines are a stored result, those of the tenant only', async () => {
    const label = randomUUID()
    const ids: string[] = []
    for (let i = 0; i < 3; i++) ids.push(await accept(core, makesSmall, { options: { labels: { batch: label } } }))
    await accept(core, makesSmall, { options: { labels: { batch: label } }, tenant: 'other' })
    await Promise.all(ids.map((id) => reached(core, id)))
    const { body } = await api.as('requester', 'POST /exports/tasks', { label: [`batch=${label}`] })
    const task = await api.as('requester', `GET /tasks/${body['task_id']}?wait=20`)
    expect(task.body).toMatchObject({
      status: 'COMPLETED',
      result: { $stored: { media_type: 'application/x-ndjson' } },
    })
    const answer = await fetch(`${base}${task.body['links'].result}`, {
      headers: { authorization: `Bearer ${api.tokens.requester}` },
    })
    const lines = (await answer.text()).trimEnd().split('\n')
    const exported = lines.map((line) => taskSchema.parse(JSON.parse(line)))
    expect(exported.map(({ task_id }) => task_id)).toEqual(ids.toReversed().map((id) => toWireId('task', id)))
  })
})
