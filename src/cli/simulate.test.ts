import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ApiClient, at, type Watch } from '../../test/conformance/kubernetes/api-client.ts'
import { kubeconfig } from '../../test/helpers/kubeconfigs.ts'
import { until } from '../../test/helpers/until.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { addSimulateCommand } from './simulate.ts'

const configMaps = '/api/v1/namespaces/default/configmaps'
const projects = '/apis/resourcemanager.miloapis.com/v1alpha1/projects'

let data: string
let cluster: SimulatedCluster
let api: ApiClient
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'sluice-simulate-'))
  cluster = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 20 } })
  api = new ApiClient(cluster.kubeconfig())
  await writeFile(join(data, 'simulated-cluster.kubeconfig'), cluster.kubeconfig())
})
afterEach(() => cluster.faults.clear())
afterAll(async () => {
  await cluster.stop()
  await rm(data, { recursive: true })
})

/** Runs a line as the shell would. */
async function simulate(line: string, folder = data): Promise<{ out: string; err: string; code: number | undefined }> {
  const run: { out: string; err: string; code: number | undefined } = { out: '', err: '', code: undefined }
  const program = new Command()
  addSimulateCommand(program, {
    stdout: { isTTY: false, columns: 100, write: (text) => (run.out += text) },
    stderr: { isTTY: false, columns: 100, write: (text) => (run.err += text) },
    env: { SLUICE_DATA_DIR: folder },
    setExitCode: (code) => (run.code = code),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  })
  await program.parseAsync(['simulate', ...line.split(' ')], { from: 'user' })
  return run
}

const statusOf = async (path: string): Promise<number> => (await api.call('GET', path)).status
let names = 0
async function createProject(): Promise<{ name: string; watch: Watch }> {
  const name = `p-${++names}`
  const watch = await api.watch(projects, { fieldSelector: `metadata.name=${name}` })
  const body = {
    apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
    kind: 'Project',
    metadata: { name },
    spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
  }
  expect((await api.call('POST', projects, { body })).status).toBe(201)
  return { name, watch }
}
const readyOf = ({ object }: { object: Parameters<typeof at>[0] }) => at(object, 'status', 'conditions', 0, 'status')

describe('sluice simulate: faults of watches', () => {
  test('cut', async () => {
    const [hit, spared] = [await api.watch(configMaps), await api.watch(projects)]
    expect(await simulate('cut --resource configmaps')).toEqual({
      out: 'Simulated: cut resource=configmaps, on 1 open watches\n',
      err: '',
      code: 0,
    })
    await hit.untilClosed()
    expect(spared.closed).toBe(false)
    spared.close()
  })

  test('half-open', async () => {
    const watch = await api.watch(configMaps)
    expect((await simulate('half-open')).out).toMatch(/on 1 open watches/)
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'unseen' } }
    const fresh = await api.watch(configMaps)
    expect((await api.call('POST', configMaps, { body })).status).toBe(201)
    await fresh.find(({ type }) => type === 'ADDED')
    expect(watch.events).toEqual([])
    expect(watch.closed).toBe(false)
    watch.close()
    fresh.close()
  })

  test('410', async () => {
    const watch = await api.watch(configMaps)
    expect((await simulate('410')).code).toBe(0)
    const { object } = await watch.find(({ type }) => type === 'ERROR')
    expect(at(object, 'code')).toBe(410)
  })
})

describe('sluice simulate: faults of requests', () => {
  test('429 with Retry-After, as often as it was asked for', async () => {
    await simulate('429 --retry-after 7 --count 2 --resource configmaps --verb list')
    const refused = await fetch(`${cluster.url}${configMaps}`, {
      headers: { authorization: `Bearer ${cluster.token}` },
    })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '7'])
    await refused.body?.cancel()
    expect([await statusOf(projects), await statusOf(configMaps), await statusOf(configMaps)]).toEqual([200, 429, 200])
  })

  test('500, until it is cleared; list tells what lasts', async () => {
    expect(await simulate('list')).toMatchObject({ out: 'No fault is active.\n', code: 0 })
    await simulate('500 --for-ms 600000 --namespace default')
    expect([await statusOf(configMaps), await statusOf(configMaps)]).toEqual([500, 500])
    expect((await simulate('list')).out).toBe('error500  namespace=default\n')
    expect(JSON.parse((await simulate('list --json')).out)).toMatchObject([{ fault: 'error500' }])
    expect((await simulate('clear')).out).toBe('No fault is active any more.\n')
    expect(await statusOf(configMaps)).toBe(200)
  })

  test('malformed-json', async () => {
    await simulate('malformed-json --resource configmaps')
    const answer = await fetch(`${cluster.url}${configMaps}`, { headers: { authorization: `Bearer ${cluster.token}` } })
    await expect(answer.json()).rejects.toThrow(SyntaxError)
    expect(await statusOf(configMaps)).toBe(200)
  })

  test('slow', async () => {
    await simulate('slow --ms 200 --count 1 --resource configmaps')
    const begin = performance.now()
    expect(await statusOf(configMaps)).toBe(200)
    expect(performance.now() - begin).toBeGreaterThan(190)
  })
})

describe('sluice simulate: faults of the server', () => {
  test('restart: connections break, nobody gets in for a while, objects stay', async () => {
    const watch = await api.watch(configMaps)
    expect(await simulate('restart --down-ms 300')).toMatchObject({ out: 'Simulated: restart downMs=300\n', code: 0 })
    await watch.untilClosed()
    await expect(fetch(cluster.url)).rejects.toThrow()
    await until(async () => (await statusOf('/api/v1/namespaces/default').catch(() => 0)) === 200)
  })

  test('future-resource-version: where a client stands lies ahead of the server', async () => {
    const list = await api.call('GET', configMaps)
    const version = String(at(list.body, 'metadata', 'resourceVersion'))
    expect((await simulate('future-resource-version --by 5000')).code).toBe(0)
    await until(async () => (await statusOf(`${configMaps}?resourceVersion=${version}`).catch(() => 0)) === 504)
  })
})

describe('sluice simulate: controllers', () => {
  test('fail, with a reason', async () => {
    await simulate('controller fail --kind Project --reason QuotaExceeded')
    const { watch } = await createProject()
    await watch.find(({ object }) => at(object, 'status', 'conditions', 0, 'reason') === 'QuotaExceeded')
    watch.close()
  })

  test('stall, one object, until it is cleared', async () => {
    await simulate(`controller stall --kind Project --name p-${names + 1}`)
    const [stalled, other] = [await createProject(), await createProject()]
    await other.watch.find((event) => readyOf(event) === 'True')
    expect(stalled.watch.events.filter((event) => readyOf(event) === 'True')).toEqual([])
    await simulate('clear')
    await stalled.watch.find((event) => readyOf(event) === 'True')
    stalled.watch.close()
    other.watch.close()
  })

  test('flap', async () => {
    await simulate('controller flap --kind Project --every-ms 20')
    const { watch } = await createProject()
    const turns = () =>
      watch.events.map(readyOf).filter((state, index, states) => index > 0 && state !== states[index - 1]).length
    await until(() => turns() >= 3)
    watch.close()
  })

  test('delete-and-recreate', async () => {
    await simulate('controller delete-and-recreate --kind Project')
    const { watch } = await createProject()
    const { object } = await watch.find(({ type }) => type === 'DELETED')
    await watch.find(
      (event) => event.type === 'ADDED' && at(event.object, 'metadata', 'uid') !== at(object, 'metadata', 'uid'),
    )
    watch.close()
  })
})

describe('sluice simulate script', () => {
  test('injects what its seed says, restarts and all', async () => {
    const run = await simulate('script 3 --steps 20 --duration-ms 500 --json')
    expect(run).toMatchObject({ code: 0, err: '' })
    expect(JSON.parse(run.out)).toHaveLength(20)
    expect((await simulate('script 3 --steps 20 --duration-ms 500 --json')).out).toBe(run.out)
    cluster.faults.clear()
    await until(async () => (await statusOf(configMaps).catch(() => 0)) === 200)
  }, 60_000)
})

describe('sluice simulate, without a simulated cluster', () => {
  test('says where it looked', async () => {
    const run = await simulate('cut', join(data, 'nowhere'))
    expect(run).toMatchObject({ code: 2, err: expect.stringContaining('nowhere/simulated-cluster.kubeconfig') })
  })

  test('leaves another cluster alone', async () => {
    const server = createServer((_, response) => {
      const status = {
        kind: 'Status',
        code: 404,
        reason: 'NotFound',
        message: 'the server could not find the resource',
      }
      response.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify(status))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    // A TCP server's address is never a pipe's string.
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const file = join(data, 'real.kubeconfig')
    await writeFile(file, kubeconfig({ cluster: { server: address } }))
    expect(await simulate(`cut --kubeconfig ${file}`)).toMatchObject({
      code: 2,
      err: expect.stringContaining('is not a simulated one'),
    })
    server.close()
  })

  test('one that has stopped is told from one that refuses', async () => {
    const gone = await startSimulatedCluster()
    const file = join(data, 'gone.kubeconfig')
    await writeFile(file, gone.kubeconfig())
    await gone.stop()
    expect(await simulate(`cut --kubeconfig ${file}`)).toMatchObject({ code: 3 })
    expect(await simulate('cut --namespace a --name b --resource c')).toMatchObject({ code: 0 })
  })
})
