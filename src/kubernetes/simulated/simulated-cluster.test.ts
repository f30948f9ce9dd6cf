import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { ApiClient, at, nameOf } from '../../../test/conformance/kubernetes/api-client.ts'
import { startSimulatedCluster, type SimulatedCluster, type SimulatedClusterOptions } from './simulated-cluster.ts'

const configMaps = '/api/v1/namespaces/default/configmaps'

let dataDir: string
const running: SimulatedCluster[] = []

async function start(options: SimulatedClusterOptions = {}): Promise<{ cluster: SimulatedCluster; api: ApiClient }> {
  const cluster = await startSimulatedCluster(options)
  running.push(cluster)
  return { cluster, api: new ApiClient(cluster.kubeconfig()) }
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

function configMap(name: string, data: Record<string, string> = {}) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'simulated-cluster-'))
})

afterEach(async () => {
  for (const cluster of running.splice(0)) await cluster.stop()
  rmSync(dataDir, { recursive: true, force: true })
})

describe('a cluster with a data folder', () => {
  test('finds objects, uid, version, port and token again', async () => {
    const first = await start({ dataDir })
    const created = (await first.api.call('POST', configMaps, { body: configMap('kept', { a: 'b' }) })).body
    await first.cluster.stop()

    const second = await start({ dataDir })
    expect(second.cluster.port).toBe(first.cluster.port)
    expect(second.cluster.token).toBe(first.cluster.token)
    expect(second.cluster.kubeconfig()).toBe(first.cluster.kubeconfig())
    expect((await second.api.call('GET', `${configMaps}/kept`)).body).toEqual(created)
    const next = (await second.api.call('POST', configMaps, { body: configMap('next') })).body
    expect(Number(at(next, 'metadata', 'resourceVersion'))).toBeGreaterThan(
      Number(at(created, 'metadata', 'resourceVersion')),
    )
  })

  test('keeps every acknowledged write over kill -9', async () => {
    const program = fileURLToPath(new URL('./simulated-cluster.ts', import.meta.url))
    const script = `
      const { startSimulatedCluster } = await import(${JSON.stringify(program)})
      const cluster = await startSimulatedCluster({ dataDir: ${JSON.stringify(dataDir)} })
      console.log(JSON.stringify(cluster.kubeconfig()))
    `
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const lines = createInterface({ input: child.stdout })
    const [kubeconfig] = (await once(lines, 'line')) as [string]
    const api = new ApiClient(String(JSON.parse(kubeconfig)))
    const names: string[] = []
    for (let index = 0; index < 50; index += 1) {
      const { status, body } = await api.call('POST', configMaps, { body: configMap(`kept-${index}`) })
      expect(status).toBe(201)
      names.push(nameOf(body))
    }
    expect((await api.call('DELETE', `${configMaps}/kept-0`)).status).toBe(200)
    child.kill('SIGKILL')
    await once(child, 'exit')

    const again = await start({ dataDir })
    for (const name of names.slice(1)) expect((await again.api.call('GET', `${configMaps}/${name}`)).status).toBe(200)
    expect((await again.api.call('GET', `${configMaps}/kept-0`)).status).toBe(404)
  })

  test('answers 410 to a watch from before the restart', async () => {
    const first = await start({ dataDir })
    const created = (await first.api.call('POST', configMaps, { body: configMap('before') })).body
    await first.api.call('POST', configMaps, { body: configMap('after') })
    await first.cluster.stop()
    const { api } = await start({ dataDir })
    const watch = await api.watch(configMaps, { resourceVersion: String(at(created, 'metadata', 'resourceVersion')) })
    const { object } = await watch.find(({ type }) => type === 'ERROR')
    expect(object['code']).toBe(410)
  })

  test('serves kinds that were defined before the restart', async () => {
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'things.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Cluster',
        names: { plural: 'things', singular: 'thing', kind: 'Thing' },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
      },
    }
    const first = await start({ dataDir })
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    expect((await first.api.call('POST', path, { body: definition })).status).toBe(201)
    await first.cluster.stop()
    const { api } = await start({ dataDir })
    const body = { apiVersion: 'example.com/v1', kind: 'Thing', metadata: { name: 'one' } }
    expect((await api.call('POST', '/apis/example.com/v1/things', { body })).status).toBe(201)
  })

  test('drops a last line that a crash cut off, and refuses other damage in one sentence', async () => {
    const first = await start({ dataDir })
    await first.api.call('POST', configMaps, { body: configMap('whole') })
    await first.cluster.stop()
    const journal = join(dataDir, 'journal.jsonl')
    appendFileSync(journal, '[1000099,"/configmaps","default/torn"]\t{"apiVersion":"v1","ki')
    const second = await start({ dataDir })
    expect((await second.api.call('GET', `${configMaps}/whole`)).status).toBe(200)
    expect((await second.api.call('GET', `${configMaps}/torn`)).status).toBe(404)
    await second.cluster.stop()

    writeFileSync(journal, readFileSync(journal, 'utf8').replace('{"apiVersion"', '{apiVersion'))
    await expect(startSimulatedCluster({ dataDir })).rejects.toThrow(/is damaged at line 2\. Move the folder away/)
  })

  test('says who may be in the way when its port is taken, and keeps its files to its owner', async () => {
    await start({ dataDir })
    await expect(startSimulatedCluster({ dataDir })).rejects.toMatchObject({ code: 'port_taken' })
    expect(statSync(join(dataDir, 'cluster.json')).mode & 0o077).toBe(0)
    expect(statSync(join(dataDir, 'journal.jsonl')).mode & 0o077).toBe(0)
  })

  test('a second start on its folder leaves the first one and its data alone', async () => {
    const first = await start({ dataDir })
    await expect(startSimulatedCluster({ dataDir })).rejects.toMatchObject({ code: 'port_taken' })
    await expect(startSimulatedCluster({ dataDir, port: await freePort() })).rejects.toMatchObject({
      code: 'folder_in_use',
    })
    expect((await first.api.call('POST', configMaps, { body: configMap('later') })).status).toBe(201)
    await first.cluster.stop()
    const second = await start({ dataDir, port: await freePort() })
    expect((await second.api.call('GET', `${configMaps}/later`)).status).toBe(200)
  })
})

describe('a cluster in memory', () => {
  test('stops twice, with watches open, and lets go of the port', async () => {
    const { cluster, api } = await start()
    const watch = await api.watch(configMaps)
    expect(cluster.watchCount).toBe(1)
    expect(cluster.requestCount).toBeGreaterThan(0)
    await cluster.stop()
    await cluster.stop()
    await watch.untilClosed()
    const again = await start({ port: cluster.port })
    expect(again.cluster.port).toBe(cluster.port)
  })

  test('speaks plain HTTP and HTTPS on one port', async () => {
    const { cluster } = await start()
    const headers = { authorization: `Bearer ${cluster.token}` }
    const plain = await fetch(`${cluster.url}/version`, { headers })
    expect(await plain.json()).toMatchObject({ gitVersion: expect.stringContaining('simulated') })
    expect(cluster.kubeconfig()).toContain(`server: https://127.0.0.1:${cluster.port}`)
  })

  test('answers 401 without a token and 403 beyond its rules', async () => {
    const { cluster } = await start({
      tokens: [
        { token: 'admin-token', user: 'admin' },
        {
          token: 'reader-token',
          user: 'reader',
          rules: [{ verbs: ['get', 'list'], apiGroups: [''], resources: ['configmaps'], namespaces: ['default'] }],
        },
      ],
    })
    expect(cluster.token).toBe('admin-token')
    const call = async (method: string, path: string, token?: string): Promise<number> => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
      return (await fetch(`${cluster.url}${path}`, { method, headers })).status
    }
    expect(await call('GET', configMaps)).toBe(401)
    expect(await call('GET', configMaps, 'reader-token')).toBe(200)
    expect(await call('GET', `${configMaps}?watch=true`, 'reader-token')).toBe(403)
    expect(await call('DELETE', configMaps, 'reader-token')).toBe(403)
    expect(await call('GET', '/api/v1/namespaces/kube-system/configmaps', 'reader-token')).toBe(403)
    expect(await call('GET', '/api/v1/configmaps', 'reader-token')).toBe(403)
    expect(await call('GET', '/simulate/faults', 'reader-token')).toBe(403)
    expect(await call('GET', '/simulate/faults', 'admin-token')).toBe(200)
    expect(await call('GET', '/healthz')).toBe(200)
  })

  test('refuses what it does not support with a 4xx Status', async () => {
    const { api } = await start()
    const refused: readonly (readonly [string, string, object])[] = [
      ['GET', '/api/v1/namespaces/default/pods/x/log', {}],
      ['POST', '/api/v1/namespaces/default/pods/x/exec', {}],
      ['GET', '/api/v1/nodes', {}],
      ['GET', configMaps, { accept: 'application/vnd.kubernetes.protobuf' }],
      ['GET', '/openapi/v2', { accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf' }],
      ['PATCH', `${configMaps}/x`, { body: {}, contentType: 'application/apply-patch+cbor' }],
    ]
    for (const [method, path, options] of refused) {
      const { status, body } = await api.call(method, path, options)
      expect(status, `${method} ${path}`).toBeGreaterThanOrEqual(400)
      expect(status, `${method} ${path}`).toBeLessThan(500)
      expect(body['kind'], `${method} ${path}`).toBe('Status')
    }
    // Where no part of the API is, a real server has no Status either.
    expect(await api.call('GET', '/metrics')).toMatchObject({ status: 404, text: '404 page not found\n' })
  })
})

describe('watch history', () => {
  test('keeps 100 events and 75 s, and answers 410 before that', async () => {
    let now = Date.UTC(2026, 0, 1)
    const clock = {
      now: () => now,
      schedule(callback: () => void, delayMs: number) {
        const timer = setTimeout(callback, delayMs)
        return () => clearTimeout(timer)
      },
    }
    const { api } = await start({ clock })
    const first = (await api.call('POST', configMaps, { body: configMap('first') })).body
    const version = String(at(first, 'metadata', 'resourceVersion'))
    for (let index = 0; index < 150; index += 1) {
      await api.call('POST', configMaps, { body: configMap(`more-${index}`) })
    }
    const query = { resourceVersion: version }
    const young = await api.watch(configMaps, query)
    await young.find(({ object }) => nameOf(object) === 'more-149')
    young.close()

    now += 76_000
    await api.call('POST', configMaps, { body: configMap('last') })
    const old = await api.watch(configMaps, query)
    expect((await old.find(({ type }) => type === 'ERROR')).object['code']).toBe(410)
    const exact = { resourceVersion: version, resourceVersionMatch: 'Exact' }
    expect((await api.call('GET', configMaps, { query: exact })).status).toBe(410)
  })

  test('an expired page answers 410 with a token that goes on without consistency', async () => {
    const { cluster, api } = await start()
    for (const name of ['a', 'b', 'c']) await api.call('POST', configMaps, { body: configMap(name) })
    const page = (await api.call('GET', configMaps, { query: { limit: '1' } })).body
    cluster.faults.gone410()
    const token = String(at(page, 'metadata', 'continue'))
    const expired = await api.call('GET', configMaps, { query: { limit: '1', continue: token } })
    expect(expired.status).toBe(410)
    const rest = String(at(expired.body, 'metadata', 'continue'))
    const { body, status } = await api.call('GET', configMaps, { query: { continue: rest } })
    expect(status).toBe(200)
    expect(at(body, 'items', 0, 'metadata', 'name')).toBe('b')
    expect(at(body, 'items', 1, 'metadata', 'name')).toBe('c')
  })

  test('a server without watch-list answers 422', async () => {
    const { api } = await start({ watchList: false })
    const query = { watch: 'true', sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }
    expect((await api.call('GET', configMaps, { query })).status).toBe(422)
  })
})
