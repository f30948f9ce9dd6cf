import { Command } from 'commander'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { addClientCommands } from '../../src/cli/client-commands.ts'
import { checkedClusterSchema, clusterPageSchema } from '../../src/contract/cluster.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { type RunningSluice, startSluice } from '../../src/main.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { hostileKubeconfigs, kubeconfig } from '../helpers/kubeconfigs.ts'
import { type Asker, startTenants, type Tenants } from '../helpers/tenants.ts'
import { until } from '../helpers/until.ts'
import { type Answer, type Api, connectApi, problemOf } from './support/api.ts'
import { openLiveSocket } from './support/live-socket.ts'

const secretKey = Buffer.alloc(32, 9)
const unlimited = { perSecond: 10_000, burst: 10_000 }
const requestLimits = { principal: unlimited, tenant: unlimited }
const logger = createMemoryLogger()

let tenants: Tenants
let worker: RunningSluice
/** Of the tenants `acme` and `other`; nobody else knows where they are. */
let mine: SimulatedCluster
let theirs: SimulatedCluster
let pool: Pool
beforeAll(async () => {
  const tokens = [
    { token: 'token-of-mine', user: 'admin' },
    { token: 'read-only', user: 'reader', rules: [] },
  ]
  mine = await startSimulatedCluster({ tokens, controllers: { projectReadyAfterMs: 50 } })
  theirs = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 50 } })
  tenants = await startTenants({ secretKey, localClusters: true, requestLimits, logger, operations: [] })
  worker = await startSluice({
    role: 'worker',
    databaseUrl: tenants.databaseUrl,
    poolMax: 8,
    secretKey,
    localClusters: true,
    logger,
  })
  pool = new Pool({ connectionString: tenants.databaseUrl, max: 1 })
})
afterAll(async () => {
  await pool.end()
  await worker.stop()
  await tenants.stop()
  await mine.stop()
  await theirs.stop()
})

const as = (asker: Asker): Api => connectApi(tenants.sluice.url, tenants.tokens[asker])
const stored = async () => (await pool.query<{ name: string }>('select * from sluice.clusters order by name')).rows
const notes = async () =>
  (await pool.query(`select type, actor, payload from sluice.domain_events where type like 'cluster.%' order by seq`))
    .rows
const projects = async (cluster: SimulatedCluster): Promise<string[]> => {
  const response = await fetch(`${cluster.url}/apis/resourcemanager.miloapis.com/v1alpha1/projects`, {
    headers: { authorization: `Bearer ${cluster.token}` },
  })
  const list = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string() }) })) })
  return list.parse(await response.json()).items.map(({ metadata }) => metadata.name)
}
const add = (asker: Asker, name: string, text: string): Promise<Answer> =>
  as(asker).send('POST', '/clusters', { body: { name, kubeconfig: text } })
const remove = (asker: Asker, name: string) => as(asker).send('DELETE', `/clusters/${name}`)
const connectionOf = async (asker: Asker, name: string) =>
  checkedClusterSchema.parse((await as(asker).send('GET', `/clusters/${name}`)).body).connection
const withToken = (cluster: SimulatedCluster, token: string): string => {
  const config = parse(cluster.kubeconfig())
  config.users[0].user.token = token
  return stringify(config)
}

/** Another API process on the same database; not for development, as in production. */
const startApi = (options: { readonly secretKey?: Buffer }): Promise<RunningSluice> =>
  startSluice({
    role: 'api',
    databaseUrl: tenants.databaseUrl,
    port: 0,
    poolMax: 4,
    requestLimits,
    logger: createMemoryLogger(),
    ...options,
  })

describe('kubeconfigs over the API: what is refused leaves nothing behind', () => {
  let production: RunningSluice
  beforeAll(async () => {
    production = await startApi({ secretKey })
  })
  afterAll(() => production.stop())

  test.each([
    ...hostileKubeconfigs,
    // A cluster that is there, and answers: only where it is speaks against it.
    ['a cluster on the machine of the API itself', () => mine.kubeconfig()],
  ] as const)('%s', async (_, given) => {
    const text = typeof given === 'string' ? given : given()
    const body = { name: 'hostile', kubeconfig: text }
    const answer = await connectApi(production.url, tenants.tokens.admin).send('POST', '/clusters', { body })
    expect([413, 422]).toContain(answer.status)
    const problem = problemOf(answer)
    expect(problem.code).toBe(answer.status === 413 ? 'payload_too_large' : 'invalid_input')
    if (answer.status === 422) expect(problem.errors?.[0]?.pointer).toBe('/kubeconfig')
    expect(await stored()).toEqual([])
    expect(await notes()).toEqual([])
  })

  test('a name, a base path or a context that makes no sense', async () => {
    const text = mine.kubeconfig()
    const refused = async (body: Record<string, unknown>) =>
      problemOf(await as('admin').send('POST', '/clusters', { body: { name: 'odd', kubeconfig: text, ...body } }))
        .errors
    for (const name of ['', 'a/b', 'Prod', '-a', 'a.b', 'x'.repeat(64)])
      expect(await refused({ name })).toMatchObject([{ pointer: '/name' }])
    expect(await refused({ base_paths: ['/a/../b'] })).toMatchObject([{ pointer: '/base_paths' }])
    expect(await refused({ base_paths: ['no-slash'] })).toMatchObject([{ pointer: '/base_paths' }])
    expect(await refused({ context: 'nowhere' })).toMatchObject([{ pointer: '/kubeconfig' }])
    expect(await stored()).toEqual([])
  })

  test('without a key for secrets nothing can be kept', async () => {
    const keyless = await startApi({})
    const api = connectApi(keyless.url, tenants.tokens.admin)
    const answer = await api.send('POST', '/clusters', { body: { name: 'prod', kubeconfig: kubeconfig() } })
    expect(problemOf(answer).code).toBe('no_secret_key')
    await keyless.stop()
  })
})

describe("a tenant's own cluster", () => {
  test('is added by its admin, shown without its credentials, and never stored in the clear', async () => {
    const answer = await add('admin', 'prod', mine.kubeconfig())
    expect(answer).toMatchObject({
      status: 201,
      body: { name: 'prod', origin: 'tenant', server: `https://127.0.0.1:${mine.port}`, authentication: 'token' },
    })
    expect(await as('admin').send('GET', '/clusters')).toMatchObject({ body: { items: [{ name: 'prod' }] } })
    const shown = JSON.stringify([answer.body, (await as('admin').send('GET', '/clusters/prod')).body])
    for (const text of [
      shown,
      JSON.stringify(await stored()),
      JSON.stringify(await notes()),
      JSON.stringify(logger.lines),
    ])
      expect(text).not.toContain('token-of-mine')
    expect(shown).not.toContain('CERTIFICATE')
    expect(await notes()).toMatchObject([
      { type: 'cluster.added', actor: 'admin', payload: { name: 'prod', authentication: 'token' } },
    ])
  })

  test('says that it answers, to everybody of the tenant who may look', async () => {
    expect(await connectionOf('viewer', 'prod')).toMatchObject({
      reachable: true,
      version: expect.stringContaining('simulated'),
      reason: null,
    })
  })

  test('is where its tasks run, in a worker that is another process', async () => {
    const { task_id } = await as('requester').createProject('on-mine', { cluster: 'prod' })
    expect(await as('requester').end(task_id)).toMatchObject({ status: 'COMPLETED', result: { cluster: 'prod' } })
    expect(await projects(mine)).toEqual(['on-mine'])
    expect((await as('requester').send('GET', '/resources?cluster=prod')).body).toMatchObject({
      items: [{ name: 'on-mine', cluster: 'prod' }],
    })
  })

  test('is not there for another tenant, by any name and any way', async () => {
    expect(clusterPageSchema.parse((await as('other').send('GET', '/clusters')).body).items).toEqual([])
    for (const name of ['prod', 'acme%2Fprod'])
      for (const method of ['GET', 'DELETE'] as const)
        expect([name, method, (await as('other').send(method, `/clusters/${name}`)).status]).toEqual([
          name,
          method,
          404,
        ])
    const changed = await as('other').send('PUT', '/clusters/prod', { body: { kubeconfig: theirs.kubeconfig() } })
    expect(changed.status).toBe(404)
    for (const cluster of ['prod', 'acme/prod']) {
      const body = { name: 'x', organization: 'acme', cluster }
      expect((await as('other').send('POST', '/projects', { body })).status).toBe(422)
      const socket = await openLiveSocket(as('other'))
      socket.send({
        subscribe: { id: 'r', kind: 'resource', cluster, api_version: 'v1', object_kind: 'ConfigMap' },
      })
      expect(await socket.next()).toMatchObject({ error: { code: 'unknown_cluster' } })
      socket.cut()
    }
    expect(await connectionOf('admin', 'prod')).toMatchObject({ reachable: true })
  })

  test('is watched live by who may look at resources, and by nobody else', async () => {
    const watch = { id: 'r', kind: 'resource', cluster: 'prod', api_version: 'v1', object_kind: 'Namespace' }
    const socket = await openLiveSocket(as('viewer'))
    socket.send({ subscribe: watch })
    expect(await socket.next()).toMatchObject({ subscription: 'r', resource: { type: 'snapshot' } })
    socket.cut()
    const narrow = await as('admin').send('POST', '/tokens', { body: { name: 'narrow', scopes: ['tasks.read'] } })
    const { token } = z.object({ token: z.string() }).parse(narrow.body)
    const blind = await openLiveSocket(connectApi(tenants.sluice.url, token))
    blind.send({ subscribe: watch })
    expect(await blind.next()).toMatchObject({ error: { code: 'forbidden' } })
    blind.cut()
  })

  test('may have the name that another tenant uses for its own', async () => {
    expect((await add('other', 'prod', theirs.kubeconfig())).status).toBe(201)
    const { task_id } = await as('other').createProject('on-theirs', { cluster: 'prod' })
    expect(await as('other').end(task_id)).toMatchObject({ status: 'COMPLETED' })
    expect(await projects(theirs)).toEqual(['on-theirs'])
    expect(await projects(mine)).toEqual(['on-mine'])
  })

  test('is added once; an admin of the tenant replaces its kubeconfig, and every process takes the new one', async () => {
    expect(problemOf(await add('admin', 'prod', mine.kubeconfig())).code).toBe('cluster_exists')
    const put = (text: string) => as('admin').send('PUT', '/clusters/prod', { body: { kubeconfig: text } })
    expect(await put(withToken(mine, 'rotated-away'))).toMatchObject({ status: 200, body: { changed_by: 'admin' } })
    expect(await connectionOf('admin', 'prod')).toMatchObject({
      reachable: false,
      reason: expect.stringMatching(/Unauthorized/i),
    })
    // The worker has taken the bad one, too: it tries again, and goes on with the next.
    const { task_id } = await as('requester').createProject('rotated', { cluster: 'prod' })
    await until(async () => (await as('requester').task(task_id)).status === 'RETRYING')
    expect((await put(withToken(mine, 'token-of-mine'))).status).toBe(200)
    expect(await as('requester').end(task_id)).toMatchObject({ status: 'COMPLETED' })
    expect((await notes()).map(({ type }) => type).slice(-2)).toEqual(['cluster.changed', 'cluster.changed'])
  })

  test('that does not answer, or does not let us in, says why', async () => {
    const gone = await startSimulatedCluster()
    const text = gone.kubeconfig()
    await gone.stop()
    expect((await add('admin', 'gone', text)).status).toBe(201)
    expect(await connectionOf('admin', 'gone')).toMatchObject({
      reachable: false,
      version: null,
      reason: expect.stringMatching(/cannot be reached/),
    })
    expect((await remove('admin', 'gone')).status).toBe(204)
  })
})

describe('a cluster that is removed', () => {
  test('fails what waits for it, what would start on it, and what asks for it, each with a reason', async () => {
    const letGo = mine.faults.controller({ mode: 'stall', kind: 'Project', name: 'left-waiting' })
    const api = as('requester')
    const waiting = await api.createProject('left-waiting', { cluster: 'prod' })
    await until(async () => (await api.task(waiting.task_id)).status === 'WAITING')
    const later = new Date(Date.now() + 2_000).toISOString()
    const scheduled = await api.createProject('too-late', { cluster: 'prod', task: { start_at: later } })
    expect((await remove('admin', 'prod')).status).toBe(204)
    const removed = {
      status: 'FAILED',
      error: { code: 'cluster_removed', detail: expect.stringContaining('Cluster prod was removed by admin') },
    }
    expect(await api.end(waiting.task_id)).toMatchObject(removed)
    expect(await api.end(scheduled.task_id)).toMatchObject(removed)
    const body = { name: 'x', organization: 'acme', cluster: 'prod' }
    expect(problemOf(await api.send('POST', '/projects', { body })).code).toBe('unknown_cluster')
    expect((await remove('admin', 'prod')).status).toBe(404)
    expect((await api.send('GET', '/clusters/prod')).status).toBe(404)
    letGo()
  })

  test('keeps no credentials, and its removal is in the log', async () => {
    const { rows } = await pool.query(
      `select sealed_credentials, removed_by from sluice.clusters where tenant_id = 'acme' and name = 'prod'`,
    )
    expect(rows).toEqual([{ sealed_credentials: null, removed_by: 'admin' }])
    expect((await notes()).at(-1)).toMatchObject({ type: 'cluster.removed', actor: 'admin', payload: { name: 'prod' } })
  })

  test("leaves another tenant's of the same name alone", async () => {
    const { task_id } = await as('other').createProject('still-there', { cluster: 'prod' })
    expect(await as('other').end(task_id)).toMatchObject({ status: 'COMPLETED' })
  })

  test('may be added again', async () => {
    expect((await add('admin', 'prod', mine.kubeconfig())).status).toBe(201)
    const { task_id } = await as('requester').createProject('back', { cluster: 'prod' })
    expect(await as('requester').end(task_id)).toMatchObject({ status: 'COMPLETED' })
  })
})

describe('sluice clusters', () => {
  test('add, list, get, remove', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-clusters-'))
    const file = join(folder, 'kubeconfig')
    await writeFile(file, mine.kubeconfig())
    const sluice = async (...args: string[]) => {
      const run = { out: '', err: '', code: -1 }
      const program = new Command()
      addClientCommands(program, {
        stdout: { isTTY: false, columns: 100, write: (text) => (run.out += text) },
        stderr: { isTTY: false, columns: 100, write: (text) => (run.err += text) },
        env: { SLUICE_URL: tenants.sluice.url, SLUICE_TOKEN: tenants.tokens.admin },
        setExitCode: (code) => (run.code = code),
        onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
      })
      await program.parseAsync(['clusters', ...args], { from: 'user' })
      return run
    }
    const added = await sluice('add', 'by-hand', '--kubeconfig', file, '--base-path', '/orgs/{org}')
    expect(added).toMatchObject({ code: 0, err: '' })
    expect(added.out).toMatch(/^Added by-hand {2}https:\/\/127\.0\.0\.1:\d+ {2}by token\nIt answers: Kubernetes v1/)
    expect((await sluice('add', 'by-hand', '--kubeconfig', file)).err).toContain('409 cluster_exists')
    expect((await sluice('add', 'by-hand', '--kubeconfig', file, '--replace')).out).toMatch(/^Replaced by-hand/)
    expect((await sluice('list')).out).toMatch(/^by-hand .*\nprod .*\n$/)
    expect(JSON.parse((await sluice('get', 'by-hand', '--json')).out)).toMatchObject({
      connection: { reachable: true },
    })
    expect(await sluice('remove', 'by-hand')).toMatchObject({ code: 0, out: 'Removed by-hand\n' })
    expect((await sluice('get', 'by-hand')).code).toBe(1)
    expect((await sluice('add', 'x', '--kubeconfig', join(folder, 'nowhere'))).code).toBe(2)
    await rm(folder, { recursive: true })
  })
})
