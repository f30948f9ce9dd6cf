import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ApiClient,
  at,
  nameOf,
  type Json,
  type JsonObject,
  type Watch,
} from '../../../../test/conformance/kubernetes/api-client.ts'
import { startSimulatedCluster, type SimulatedCluster } from '../simulated-cluster.ts'

/** A busy machine takes its time. */
const patiently = { timeout: 20_000 }

let cluster: SimulatedCluster
let api: ApiClient

const machines = '/apis/kubevirt.io/v1/namespaces/default/virtualmachines'
const instances = '/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances'
const zones = '/apis/dns.networking.miloapis.com/v1alpha1/namespaces/default/dnszones'
const projects = '/apis/resourcemanager.miloapis.com/v1alpha1/projects'
const deployments = '/apis/apps/v1/namespaces/default/deployments'
const jobs = '/apis/batch/v1/namespaces/default/jobs'

beforeAll(async () => {
  cluster = await startSimulatedCluster({
    controllers: {
      projectReadyAfterMs: 60,
      dnsZoneReadyAfterMs: 60,
      virtualMachineStartAfterMs: 60,
      virtualMachineStopAfterMs: 20,
      podReadyAfterMs: 20,
      jobDurationMs: 20,
      deletionAfterMs: 20,
      slowMs: 300,
    },
  })
  api = new ApiClient(cluster.kubeconfig())
})

afterAll(async () => {
  await cluster.stop()
})

async function create(path: string, body: JsonObject): Promise<JsonObject> {
  const answer = await api.call('POST', path, { body })
  expect(answer.status, answer.text).toBe(201)
  return answer.body
}

async function watchOne(path: string, name: string): Promise<Watch> {
  return await api.watch(path, { fieldSelector: `metadata.name=${name}` })
}

async function merge(path: string, body: Json): Promise<void> {
  const answer = await api.call('PATCH', path, { body, contentType: 'application/merge-patch+json' })
  expect(answer.status, answer.text).toBe(200)
}

function condition(object: JsonObject, type: string): Json | undefined {
  const conditions = at(object, 'status', 'conditions')
  return Array.isArray(conditions) ? conditions.find((known) => at(known, 'type') === type) : undefined
}

function has(type: string, status: string, reason?: string) {
  return ({ object }: { readonly object: JsonObject }): boolean => {
    const found = condition(object, type)
    return at(found, 'status') === status && (reason === undefined || at(found, 'reason') === reason)
  }
}

function printable(status: string) {
  return ({ object }: { readonly object: JsonObject }): boolean => at(object, 'status', 'printableStatus') === status
}

function project(name: string): JsonObject {
  return {
    apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
    kind: 'Project',
    metadata: { name },
    spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
  }
}

function zone(name: string, dnsZoneClassName = 'standard'): JsonObject {
  return {
    apiVersion: 'dns.networking.miloapis.com/v1alpha1',
    kind: 'DNSZone',
    metadata: { name },
    spec: { domainName: `${name}.example.com`, dnsZoneClassName },
  }
}

function machine(name: string, runStrategy = 'Always'): JsonObject {
  const volumes = [{ name: 'root', containerDisk: { image: 'registry.example/os:1' } }]
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name },
    spec: { runStrategy, template: { spec: { domain: { cpu: { cores: 1 } }, volumes } } },
  }
}

describe('Project', () => {
  test('has no status, then Pending, Provisioning and Ready; observedGeneration goes stale afterwards', async () => {
    const watch = await watchOne(projects, 'steps')
    const created = await create(projects, project('steps'))
    expect(created['status']).toBeUndefined()
    await watch.find(has('Ready', 'True'))
    const reasons = watch.events.map(({ object }) => at(condition(object, 'Ready'), 'reason'))
    expect(reasons.filter((reason, index) => index === 0 || reason !== reasons[index - 1])).toEqual([
      undefined,
      'Pending',
      'Provisioning',
      'Ready',
    ])
    await merge(`${projects}/steps`, { spec: { ownerRef: { kind: 'Organization', name: 'other' } } })
    const changed = await watch.find(({ object }) => at(object, 'metadata', 'generation') === 2)
    expect(at(condition(changed.object, 'Ready'), 'observedGeneration')).toBe(1)
    watch.close()
  })

  test('names say what becomes of it', async () => {
    for (const name of ['fails-name', 'stalls-name', 'slow-name', 'plain-name']) await create(projects, project(name))
    const watches = await Promise.all(
      ['fails-name', 'stalls-name', 'slow-name'].map((name) => watchOne(projects, name)),
    )
    const [fails, stalls, slow] = watches
    await fails?.find(has('Ready', 'False', 'ProjectNameConflict'))
    await slow?.find(has('Ready', 'True'))
    await stalls?.find(has('Ready', 'False', 'Provisioning'))
    expect(stalls?.events.some(has('Ready', 'True'))).toBe(false)
    for (const watch of watches) watch.close()
  })

  test('deletion waits for the finalizer of the controller', async () => {
    await create(projects, project('goes'))
    const watch = await watchOne(projects, 'goes')
    await watch.find(has('Ready', 'True'))
    const { body } = await api.call('DELETE', `${projects}/goes`)
    expect(at(body, 'metadata', 'deletionTimestamp')).toBeDefined()
    await watch.find(({ type }) => type === 'DELETED')
    watch.close()
  })

  test('a name over 55 characters is refused', async () => {
    const answer = await api.call('POST', projects, { body: project('n'.repeat(56)) })
    expect(answer.status).toBe(422)
  })
})

describe('DNSZone', () => {
  test('is Accepted=False/Pending on the normal path, then Accepted and Programmed', async () => {
    const watch = await watchOne(zones, 'normal')
    await create(zones, zone('normal'))
    await watch.find(has('Accepted', 'False', 'Pending'))
    await watch.find((event) => has('Accepted', 'True')(event) && has('Programmed', 'False')(event))
    const { object } = await watch.find((event) => has('Accepted', 'True')(event) && has('Programmed', 'True')(event))
    expect(at(object, 'status', 'nameservers', 0)).toBeDefined()
    watch.close()
  })

  test('fails with DNSZoneInUse, and stays Pending when its class is missing', async () => {
    await create(zones, zone('fails-taken'))
    await create(zones, zone('classless', 'missing-class'))
    const failing = await watchOne(zones, 'fails-taken')
    await failing.find(has('Accepted', 'False', 'DNSZoneInUse'))
    const pending = await watchOne(zones, 'classless')
    const { object } = await pending.find(has('Accepted', 'False', 'Pending'))
    expect(at(condition(object, 'Accepted'), 'message')).toBe('DNSZoneClass "missing-class" not found')
    failing.close()
    pending.close()
  })

  test('the domain name is lower case, has a dot, and cannot change', async () => {
    for (const domainName of ['UPPER.example.com', 'nodot']) {
      const body = { ...zone('bad'), spec: { domainName, dnsZoneClassName: 'standard' } }
      expect((await api.call('POST', zones, { body })).status).toBe(422)
    }
    await create(zones, zone('fixed'))
    const contentType = 'application/merge-patch+json'
    const body = { spec: { domainName: 'other.example.com' } }
    expect((await api.call('PATCH', `${zones}/fixed`, { body, contentType })).status).toBe(422)
  })
})

describe('VirtualMachine', () => {
  test('starts, stops and starts again by its run strategy', async () => {
    const watch = await watchOne(machines, 'cycle')
    await create(machines, machine('cycle'))
    await watch.find(printable('Starting'))
    const running = await watch.find((event) => printable('Running')(event) && has('Ready', 'True')(event))
    expect(at(running.object, 'status', 'created')).toBe(true)
    expect(at(running.object, 'status', 'ready')).toBe(true)
    expect(at(condition(running.object, 'Ready'), 'observedGeneration')).toBeUndefined()
    expect((await api.call('GET', `${instances}/cycle`)).status).toBe(200)

    await merge(`${machines}/cycle`, { spec: { runStrategy: 'Halted' } })
    const stopped = await watch.find(
      ({ object }) => printable('Stopped')({ object }) && at(object, 'spec', 'runStrategy') === 'Halted',
    )
    expect(has('Ready', 'False', 'VMINotExists')(stopped)).toBe(true)
    expect(at(stopped.object, 'status', 'created')).toBeUndefined()
    expect((await api.call('GET', `${instances}/cycle`)).status).toBe(404)
    watch.close()
  })

  test('subresources start, restart and stop it; a wrong moment answers 409', async () => {
    const action = (verb: string) =>
      api.call('PUT', `/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/acted/${verb}`)
    const watch = await watchOne(machines, 'acted')
    await create(machines, machine('acted', 'Halted'))
    await watch.find(printable('Stopped'))
    expect((await action('stop')).status).toBe(409)
    expect((await action('restart')).status).toBe(409)
    expect((await action('start')).status).toBe(202)
    await watch.find(has('Ready', 'True'))
    expect((await action('start')).status).toBe(409)
    const before = at((await api.call('GET', `${instances}/acted`)).body, 'metadata', 'uid')

    const again = await watchOne(instances, 'acted')
    expect((await action('restart')).status).toBe(202)
    await again.find(({ type }) => type === 'DELETED')
    const next = await again.find(
      (event) => at(event.object, 'metadata', 'uid') !== before && has('Ready', 'True')(event),
    )
    expect(nameOf(next.object)).toBe('acted')
    await expect
      .poll(
        async () => at((await api.call('GET', `${machines}/acted`)).body, 'status', 'stateChangeRequests'),
        patiently,
      )
      .toBeUndefined()
    expect((await action('stop')).status).toBe(202)
    await expect.poll(async () => (await api.call('GET', `${instances}/acted`)).status, patiently).toBe(404)
    expect(at((await api.call('GET', `${machines}/acted`)).body, 'spec', 'runStrategy')).toBe('Halted')
    watch.close()
    again.close()
  })

  test('a changed template wants a restart', async () => {
    await create(machines, machine('changed'))
    const watch = await watchOne(machines, 'changed')
    await watch.find(has('Ready', 'True'))
    await merge(`${machines}/changed`, { spec: { template: { spec: { domain: { cpu: { cores: 2 } } } } } })
    await watch.find(has('RestartRequired', 'True'))
    await api.call('PUT', '/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/changed/restart')
    const seen = watch.events.length
    await watch.find(
      (event) =>
        watch.events.indexOf(event) >= seen &&
        has('Ready', 'True')(event) &&
        condition(event.object, 'RestartRequired') === undefined,
    )
    watch.close()
  })

  test.each([
    ['fails-pvc-vm', printable('ErrorPvcNotFound')],
    ['fails-image-vm', printable('ImagePullBackOff')],
    ['fails-scheduling-vm', printable('ErrorUnschedulable')],
    ['fails-vm', has('Failure', 'True', 'FailedCreate')],
  ])('%s fails in its way', async (name, fails) => {
    await create(machines, machine(name))
    const watch = await watchOne(machines, name)
    await watch.find(fails)
    watch.close()
  })

  test('needs one run strategy, and a domain', async () => {
    const { runStrategy: _, ...spec } = machine('bad')['spec'] as JsonObject
    for (const wrong of [
      spec,
      { ...spec, runStrategy: 'Always', running: true },
      { runStrategy: 'Always', template: { spec: {} } },
    ]) {
      expect((await api.call('POST', machines, { body: { ...machine('bad'), spec: wrong } })).status).toBe(422)
    }
  })

  test('deletion takes the instance along', async () => {
    await create(machines, machine('deleted'))
    const watch = await watchOne(machines, 'deleted')
    await watch.find(has('Ready', 'True'))
    await api.call('DELETE', `${machines}/deleted`)
    await watch.find(({ type }) => type === 'DELETED')
    expect((await api.call('GET', `${instances}/deleted`)).status).toBe(404)
    watch.close()
  })
})

describe('workloads', () => {
  function deployment(name: string, more: JsonObject = {}): JsonObject {
    const template = { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image: 'nginx:1' }] } }
    const spec = { replicas: 2, selector: { matchLabels: { app: name } }, template, ...more }
    return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name }, spec }
  }

  function job(name: string, more: JsonObject = {}): JsonObject {
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'busybox:1' }] } }
    return { apiVersion: 'batch/v1', kind: 'Job', metadata: { name }, spec: { template, ...more } }
  }

  test('a Deployment over quota has ReplicaFailure=True/FailedCreate and no Pods', async () => {
    await create(deployments, deployment('fails-quota-web'))
    const watch = await watchOne(deployments, 'fails-quota-web')
    await watch.find(has('ReplicaFailure', 'True', 'FailedCreate'))
    watch.close()
  })

  test('a Deployment that does not progress exceeds its deadline', async () => {
    await create(deployments, deployment('stalls-web', { progressDeadlineSeconds: 1 }))
    const watch = await watchOne(deployments, 'stalls-web')
    await watch.find(has('Progressing', 'False', 'ProgressDeadlineExceeded'))
    watch.close()
    const events = await api.call('GET', '/api/v1/namespaces/default/events', {
      query: { fieldSelector: 'reason=FailedScheduling,type=Warning' },
    })
    expect(at(events.body, 'items', 0, 'involvedObject', 'kind')).toBe('Pod')
  })

  test('a Deployment whose image is missing leaves its Pods in ImagePullBackOff', async () => {
    await create(deployments, deployment('fails-web', { replicas: 1 }))
    const pods = await api.watch('/api/v1/namespaces/default/pods', { labelSelector: 'app=fails-web' })
    const waiting = ['status', 'containerStatuses', 0, 'state', 'waiting', 'reason'] as const
    await pods.find(({ object }) => at(object, ...waiting) === 'ImagePullBackOff')
    pods.close()
  })

  test('a Job completes, fails at its limit, and fails at its deadline', async () => {
    await create(jobs, job('works', { completions: 3, parallelism: 2 }))
    await create(jobs, job('fails-often', { backoffLimit: 1 }))
    await create(jobs, job('stalls-late', { activeDeadlineSeconds: 1 }))
    const works = await watchOne(jobs, 'works')
    const complete = await works.find(has('Complete', 'True'))
    expect(at(complete.object, 'status', 'succeeded')).toBe(3)
    const fails = await watchOne(jobs, 'fails-often')
    await fails.find(has('Failed', 'True', 'BackoffLimitExceeded'))
    const late = await watchOne(jobs, 'stalls-late')
    await late.find(has('Failed', 'True', 'DeadlineExceeded'))
    for (const watch of [works, fails, late]) watch.close()
  })

  test('what a controller may not write becomes an Event, and the cluster lives on', async () => {
    const labels = { app: 'mislabelled', bad: 'no label value!' }
    const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'nginx:1' }] } }
    const selector = { matchLabels: { app: 'mislabelled' } }
    const body = deployment('mislabelled', { selector, template })
    const events = await api.watch('/api/v1/namespaces/default/events', { fieldSelector: 'reason=ReconcileError' })
    await create(deployments, body)
    const { object } = await events.find(() => true)
    expect(at(object, 'message')).toMatch(/a valid label must be/)
    events.close()
    expect((await api.call('GET', deployments)).status).toBe(200)
  })
})

test('without controllers objects stay as they are written, and deletion still works', async () => {
  const bare = await startSimulatedCluster({ controllers: { enabled: false } })
  try {
    const client = new ApiClient(bare.kubeconfig())
    const { body } = await client.call('POST', projects, { body: project('bare') })
    const again = (await client.call('GET', `${projects}/bare`)).body
    expect(again).toEqual(body)
    const owned = {
      ...project('owned'),
      metadata: {
        name: 'owned',
        ownerReferences: [
          {
            apiVersion: body['apiVersion'] ?? '',
            kind: 'Project',
            name: 'bare',
            uid: at(body, 'metadata', 'uid') ?? '',
          },
        ],
      },
    }
    await client.call('POST', projects, { body: owned })
    await client.call('DELETE', `${projects}/bare`)
    await expect.poll(async () => (await client.call('GET', `${projects}/owned`)).status, patiently).toBe(404)
  } finally {
    await bare.stop()
  }
})
