import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ApiClient, at, nameOf, type Watch } from '../../../test/conformance/kubernetes/api-client.ts'
import { createFaultScript, runFaultScript, startSimulatedCluster, type SimulatedCluster } from './simulated-cluster.ts'

/** A busy machine takes its time. */
const patiently = { timeout: 20_000 }

const configMaps = '/api/v1/namespaces/default/configmaps'
const projects = '/apis/resourcemanager.miloapis.com/v1alpha1/projects'

let cluster: SimulatedCluster
let api: ApiClient

beforeEach(async () => {
  cluster = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 30 } })
  api = new ApiClient(cluster.kubeconfig())
})

afterEach(async () => {
  await cluster.stop()
})

async function create(name: string): Promise<string> {
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } }
  const answer = await api.call('POST', configMaps, { body })
  expect(answer.status).toBe(201)
  return String(at(answer.body, 'metadata', 'resourceVersion'))
}

async function createProject(name: string): Promise<Watch> {
  const body = {
    apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
    kind: 'Project',
    metadata: { name },
    spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
  }
  expect((await api.call('POST', projects, { body })).status).toBe(201)
  return await api.watch(projects, { fieldSelector: `metadata.name=${name}` })
}

function readyIs(status: string, reason?: string) {
  return ({ object }: { object: Parameters<typeof at>[0] }): boolean => {
    const conditions = at(object, 'status', 'conditions')
    const ready = Array.isArray(conditions) ? conditions.find((known) => at(known, 'type') === 'Ready') : undefined
    return at(ready, 'status') === status && (reason === undefined || at(ready, 'reason') === reason)
  }
}

describe('faults of watches', () => {
  test('cut destroys the sockets of open watches, of the chosen resource only', async () => {
    const [hit, spared] = [await api.watch(configMaps), await api.watch(projects)]
    expect(cluster.faults.cut({ resource: 'configmaps' })).toBe(1)
    await hit.untilClosed()
    expect(spared.closed).toBe(false)
    expect(cluster.watchCount).toBe(1)
    spared.close()
  })

  test('a half-open watch stays open and silent, while a new one sees everything', async () => {
    const version = await create('before')
    const silent = await api.watch(configMaps, { resourceVersion: version })
    expect(cluster.faults.halfOpen()).toBe(1)
    const heard = await api.watch(configMaps, { resourceVersion: version })
    await create('after')
    await heard.find(({ object }) => nameOf(object) === 'after')
    expect(silent.events).toEqual([])
    expect(silent.closed).toBe(false)
    silent.close()
    heard.close()
  })

  test('gone410 ends open watches with an ERROR event, and their positions with 410', async () => {
    const version = await create('one')
    const watch = await api.watch(configMaps, { resourceVersion: version })
    expect(cluster.faults.gone410()).toBe(1)
    expect((await watch.find(({ type }) => type === 'ERROR')).object['code']).toBe(410)
    await watch.untilClosed()
    const again = await api.watch(configMaps, { resourceVersion: version })
    expect((await again.find(({ type }) => type === 'ERROR')).object['code']).toBe(410)
  })

  test('malformedJson sends an open watch a line that is no JSON, and cuts the next answer short', async () => {
    const watch = await api.watch(configMaps, { resourceVersion: await create('one') })
    cluster.faults.malformedJson()
    const answer = await api.call('GET', configMaps)
    expect(answer.status).toBe(200)
    expect(() => JSON.parse(answer.text)).toThrow(SyntaxError)
    await create('two')
    await watch.find(({ object }) => nameOf(object) === 'two')
    expect(watch.text).toContain('{"type":"MODIFIED","object":{"kind":\n')
    watch.close()
  })
})

describe('faults of requests', () => {
  test('tooManyRequests answers 429 with Retry-After, so many times', async () => {
    cluster.faults.tooManyRequests({ count: 2, retryAfter: 3, verb: 'list' })
    for (const _ of [1, 2]) {
      const answer = await fetch(`${cluster.url}${configMaps}`, {
        headers: { authorization: `Bearer ${cluster.token}` },
      })
      expect(answer.status).toBe(429)
      expect(answer.headers.get('retry-after')).toBe('3')
    }
    expect((await api.call('GET', configMaps)).status).toBe(200)
    expect(cluster.faults.active()).toEqual([])
  })

  test('error500 lasts until it is taken back', async () => {
    const takeBack = cluster.faults.error500({ count: 1_000, resource: 'configmaps' })
    expect((await api.call('GET', configMaps)).body['reason']).toBe('InternalError')
    expect((await api.call('GET', projects)).status).toBe(200)
    takeBack()
    expect((await api.call('GET', configMaps)).status).toBe(200)
  })

  test('slow lets requests wait', async () => {
    cluster.faults.slow(120, { count: 1 })
    const start = performance.now()
    expect((await api.call('GET', configMaps)).status).toBe(200)
    expect(performance.now() - start).toBeGreaterThanOrEqual(110)
  })

  test('stop does not wait for slow requests', async () => {
    cluster.faults.slow(600_000)
    const asked = api.call('GET', configMaps).catch(() => 'broken')
    await expect.poll(() => cluster.requestCount, patiently).toBe(1)
    await cluster.stop()
    expect(await asked).toBe('broken')
  })

  test('restart breaks every connection, refuses for a while, and forgets the history, not the objects', async () => {
    const version = await create('kept')
    await create('later')
    const watch = await api.watch(configMaps, { resourceVersion: version })
    cluster.faults.restart({ downMs: 600_000 })
    await watch.untilClosed()
    await expect(api.call('GET', configMaps)).rejects.toThrow()
    cluster.faults.restart()
    const status = async (): Promise<number> =>
      (await api.call('GET', `${configMaps}/kept`).catch(() => ({ status: 0 }))).status
    await expect.poll(status, patiently).toBe(200)
    const again = await api.watch(configMaps, { resourceVersion: version })
    expect((await again.find(({ type }) => type === 'ERROR')).object['code']).toBe(410)
  })

  test('futureResourceVersion leaves positions in the future: lists answer 504, watches stay silent', async () => {
    const version = await create('one')
    cluster.faults.futureResourceVersion()
    const query = { resourceVersion: version }
    expect((await api.call('GET', configMaps, { query })).status).toBe(504)
    const silent = await api.watch(configMaps, query)
    const { body } = await api.call('GET', configMaps)
    expect(Number(at(body, 'metadata', 'resourceVersion'))).toBeLessThan(Number(version))
    const present = await api.watch(configMaps, { resourceVersion: String(at(body, 'metadata', 'resourceVersion')) })
    await create('two')
    await present.find(({ object }) => nameOf(object) === 'two')
    expect(silent.events).toEqual([])
    silent.close()
    present.close()
  })
})

describe('faults of controllers', () => {
  test('fail, and stall for one object', async () => {
    cluster.faults.controller({ mode: 'fail', kind: 'Project', name: 'doomed', reason: 'ProjectNameConflict' })
    const takeBack = cluster.faults.controller({ mode: 'stall', name: 'stuck' })
    const doomed = await createProject('doomed')
    await doomed.find(readyIs('False', 'ProjectNameConflict'))
    const stuck = await createProject('stuck')
    await stuck.find(readyIs('False', 'Provisioning'))
    const fine = await createProject('fine')
    await fine.find(readyIs('True'))
    expect(stuck.events.some(readyIs('True'))).toBe(false)
    takeBack()
    await stuck.find(readyIs('True'))
    for (const watch of [doomed, stuck, fine]) watch.close()
  })

  test('flap turns Ready on and off until it is taken back', async () => {
    const takeBack = cluster.faults.controller({ mode: 'flap', kind: 'projects', everyMs: 20 })
    const watch = await createProject('flapping')
    const turns = (): number => {
      const states = watch.events.map((event) => readyIs('True')(event))
      return states.filter((state, index) => index > 0 && state !== states[index - 1]).length
    }
    await expect.poll(turns, patiently).toBeGreaterThanOrEqual(3)
    takeBack()
    await expect
      .poll(async () => readyIs('True')({ object: (await api.call('GET', `${projects}/flapping`)).body }), patiently)
      .toBe(true)
    watch.close()
  })

  test('deleteAndRecreate makes another object of the name, once', async () => {
    const watch = await createProject('replaced')
    const first = await watch.find(() => true)
    cluster.faults.controller({ mode: 'deleteAndRecreate', kind: 'Project' })
    await watch.find(({ type }) => type === 'DELETED')
    const second = await watch.find(
      ({ type, object }) => type === 'ADDED' && at(object, 'metadata', 'uid') !== at(first.object, 'metadata', 'uid'),
    )
    await watch.find(
      (event) => at(event.object, 'metadata', 'uid') === at(second.object, 'metadata', 'uid') && readyIs('True')(event),
    )
    expect(watch.events.filter(({ type }) => type === 'DELETED')).toHaveLength(1)
    watch.close()
  })
})

describe('faults over HTTP', () => {
  test('POST injects, GET lists, DELETE takes back; nonsense answers 400', async () => {
    const path = '/simulate/faults'
    const body = { fault: 'error500', count: 5, resource: 'configmaps' }
    expect((await api.call('POST', path, { body })).status).toBe(200)
    const listed = (await api.call('GET', path)).body
    expect(listed['simulated']).toBe(true)
    expect(at(listed, 'active', 0, 'fault')).toBe('error500')
    expect((await api.call('GET', configMaps)).status).toBe(500)
    expect((await api.call('DELETE', path)).status).toBe(200)
    expect((await api.call('GET', configMaps)).status).toBe(200)
    expect((await api.call('POST', path, { body: { fault: 'meteor' } })).status).toBe(400)
    expect((await api.call('POST', path, { body: { fault: 'cut', strange: 1 } })).status).toBe(400)
    expect((await api.call('POST', path, { body: { fault: 'restart', downMs: 'soon' } })).status).toBe(400)
  })

  test('who asks for a fault that breaks every connection is answered before', async () => {
    for (const fault of ['restart', 'futureResourceVersion']) {
      const watch = await api.watch(configMaps)
      expect(await api.call('POST', '/simulate/faults', { body: { fault } })).toMatchObject({
        status: 200,
        body: { simulated: true, injected: fault },
      })
      await watch.untilClosed()
    }
  })
})

describe('fault scripts', () => {
  test('equal seeds give equal scripts, in the order of time', () => {
    const script = createFaultScript(7, { steps: 50, durationMs: 1_000 })
    expect(createFaultScript(7, { steps: 50, durationMs: 1_000 })).toEqual(script)
    expect(createFaultScript(8, { steps: 50, durationMs: 1_000 })).not.toEqual(script)
    const times = script.map(({ atMs }) => atMs)
    expect(times).toEqual(times.toSorted((left, right) => left - right))
  })

  test('a script runs to its end, and every fault in it is understood', async () => {
    await runFaultScript(cluster.faults, createFaultScript(3, { steps: 60, durationMs: 100 }))
    cluster.faults.clear()
    await expect
      .poll(async () => (await api.call('GET', configMaps).catch(() => ({ status: 0 }))).status, patiently)
      .toBe(200)
  })

  test('a script stops when its signal fires', async () => {
    const controller = new AbortController()
    const run = runFaultScript(cluster.faults, [{ atMs: 600_000, fault: { fault: 'cut' } }], {
      signal: controller.signal,
    })
    controller.abort()
    await run
  })
})
