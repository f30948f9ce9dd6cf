import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, connectCluster, type KubernetesObject } from '../kubernetes/cluster.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { createWatchHub, type WatchHub } from '../kubernetes/watch-hub.ts'
import { waitForDeleted, waitForReady } from '../kubernetes/wait-for-ready.ts'
import type { Operation, PerformContext, Performed, Wait } from './define-operation.ts'
import { builtInOperations, createOperationRegistry } from './registry.ts'

let simulated: SimulatedCluster
let cluster: Cluster
let hub: WatchHub
let tasks = 0

beforeAll(async () => {
  simulated = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 100 } })
  cluster = connectCluster({ name: 'default', kubeconfig: simulated.kubeconfig(), simulated: true })
  hub = createWatchHub({ cluster: () => cluster })
})
afterAll(async () => {
  await hub.stop()
  await cluster.stop()
  await simulated.stop()
})

const registry = createOperationRegistry(builtInOperations)

function operation(type: string): Operation {
  const found = registry.get(type)
  if (!found) throw new Error(`there is no operation ${type}`)
  return found
}

function contextOf(fields: Partial<PerformContext> = {}): PerformContext {
  return {
    taskId: `task_${++tasks}`,
    retryOf: undefined,
    tenant: 'default',
    attempt: 1,
    flags: {},
    storeResult: () => Promise.reject(new Error('nothing is stored here')),
    startRecord: () => Promise.reject(new Error('nothing is recorded here')),
    startedRecord: () => Promise.resolve(undefined),
    signal: AbortSignal.timeout(20_000),
    cluster: () => cluster,
    hub,
    report: () => undefined,
    ...fields,
  }
}

const perform = (type: string, input: unknown, context = contextOf()): Promise<Performed> => {
  const { input: schema, perform: run } = operation(type)
  return run(context, schema.parse(input))
}

/** Waits as the worker does: through the hub, until the object is decided. Rejects with `NotReadyError`. */
const decided = (wait: Wait): Promise<KubernetesObject | undefined> =>
  wait.rules.absent
    ? waitForDeleted({ hub, ref: wait.ref, uid: wait.uid }).then(() => undefined)
    : waitForReady({ hub, ref: wait.ref, rules: wait.rules, pin: wait })

/** Performs, waits and finishes: the result of the task, or why it failed. */
async function run(type: string, input: unknown): Promise<Record<string, unknown>> {
  const performed = await perform(type, input)
  if (performed.kind === 'completed') return performed.result
  const object = await decided(performed.wait)
  const live = object && (await cluster.get(performed.wait.ref))
  return operation(type).finish?.(live, operation(type).input.parse(input)) ?? {}
}

const project = (name: string) => ({ name, organization: 'acme' })

describe('project', () => {
  test('created by server-side apply with our manager and labels, ready, deleted, and gone again', async () => {
    expect(await run('project.create', project('one'))).toMatchObject({ name: 'one', uid: expect.any(String) })
    const made = await cluster.get({
      apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
      kind: 'Project',
      name: 'one',
    })
    expect(made?.metadata.labels).toMatchObject({ 'app.kubernetes.io/managed-by': 'sluice' })
    expect(await run('project.delete', { name: 'one' })).toEqual({
      name: 'one',
      cluster: 'default',
      already_gone: false,
    })
    expect(await run('project.delete', { name: 'one' })).toEqual({
      name: 'one',
      cluster: 'default',
      already_gone: true,
    })
  })

  test('a second run of the same task, and a retry of it, find their own object; another task does not', async () => {
    const context = contextOf()
    await perform('project.create', project('mine'), context)
    await expect(perform('project.create', project('mine'), context)).resolves.toMatchObject({ kind: 'waiting' })
    const retry = contextOf({ retryOf: context.taskId })
    await expect(perform('project.create', project('mine'), retry)).resolves.toMatchObject({ kind: 'waiting' })
    await expect(perform('project.create', project('mine'))).rejects.toMatchObject({
      code: 'already_exists',
      retryable: false,
    })
  })

  test('two tenants that ask for one name at the same moment: one of them gets it', async () => {
    const outcomes = await Promise.allSettled(
      ['one', 'two'].map((tenant) => perform('project.create', project('contested'), contextOf({ tenant }))),
    )
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })
})

const zone = (name: string) => ({ name, domain_name: `${name}.example`, dns_zone_class_name: 'default' })

describe('dns-zone', () => {
  test('ready when Accepted and Programmed, with its name servers; Pending on the way is progress', async () => {
    expect(await run('dns-zone.create', zone('zone'))).toMatchObject({
      namespace: 'default',
      nameservers: ['ns1.simulated.example', 'ns2.simulated.example'],
    })
    expect(await run('dns-zone.delete', { name: 'zone', namespace: 'default' })).toMatchObject({ already_gone: false })
  })

  test('a zone in use fails with its reason', async () => {
    await expect(run('dns-zone.create', zone('fails-zone'))).rejects.toMatchObject({ reason: 'DNSZoneInUse' })
  })
})

const machine = (name: string, more: object = {}) => ({
  name,
  namespace: 'default',
  cpu: 2,
  memory: '2Gi',
  image: 'registry.example/disk:1',
  ...more,
})
const named = (name: string) => ({ name, namespace: 'default' })

describe('vm', () => {
  test('created and running; stopped; started; restarted with another instance; deleted', async () => {
    const instance = () => cluster.get({ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', ...named('vm') })
    expect(await run('vm.create', machine('vm'))).toMatchObject({ status: 'Running', restart_required: false })
    expect(await run('vm.stop', named('vm'))).toMatchObject({ status: 'Stopped' })
    expect(await instance()).toBeUndefined()
    expect(await run('vm.start', named('vm'))).toMatchObject({ status: 'Running' })
    const before = await instance()
    expect(await run('vm.restart', named('vm'))).toMatchObject({ status: 'Running' })
    const after = await instance()
    expect(after?.metadata.uid).toBeDefined()
    expect(after?.metadata.uid).not.toBe(before?.metadata.uid)
    expect(await run('vm.delete', named('vm'))).toMatchObject({ already_gone: false })
  })

  test('created halted is ready when it is stopped', async () => {
    expect(await run('vm.create', machine('halted', { run_strategy: 'Halted' }))).toMatchObject({ status: 'Stopped' })
  })

  test('a change of a running machine keeps the rest, and says that it waits for a restart', async () => {
    await run('vm.create', machine('grows', { labels: { team: 'a' } }))
    expect(await run('vm.modify', { ...named('grows'), cpu: 4 })).toMatchObject({ restart_required: true })
    const grown = await cluster.get({ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', ...named('grows') })
    expect(grown).toMatchObject({
      metadata: { labels: { team: 'a' } },
      spec: { template: { spec: { domain: { cpu: { cores: 4 }, memory: { guest: '2Gi' } } } } },
    })
  })

  test('a restart that runs twice replaces one instance once', async () => {
    await run('vm.create', machine('twice'))
    const context = contextOf()
    const first = await perform('vm.restart', named('twice'), context)
    if (first.kind === 'waiting') await decided(first.wait)
    const replaced = await cluster.get({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachineInstance',
      ...named('twice'),
    })
    await perform('vm.restart', named('twice'), context)
    const after = await cluster.get({ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', ...named('twice') })
    expect(after?.metadata.uid).toBe(replaced?.metadata.uid)
  })

  test('what is not there, does not run, or was not made by us is a permanent error', async () => {
    await expect(perform('vm.start', named('nowhere'))).rejects.toMatchObject({ code: 'not_found', retryable: false })
    await run('vm.create', machine('still', { run_strategy: 'Halted' }))
    await expect(perform('vm.restart', named('still'))).rejects.toMatchObject({ code: 'not_running' })
  })
})

describe('resource', () => {
  const deployment = (name: string, replicas: number) => ({
    object: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: 'default' },
      spec: {
        replicas,
        selector: { matchLabels: { app: name } },
        template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image: 'image' }] } },
      },
    },
  })

  test('any kind, ready by what its kind needs, changed by applying again, deleted', async () => {
    expect(await run('resource.apply', deployment('web', 1))).toMatchObject({ kind: 'Deployment', name: 'web' })
    expect(await run('resource.apply', deployment('web', 3))).toMatchObject({ name: 'web' })
    const identity = { api_version: 'apps/v1', kind: 'Deployment', ...named('web') }
    expect(await run('resource.delete', identity)).toMatchObject({ already_gone: false })
  })

  test('the rules of the request decide', async () => {
    const readiness = { ready: "object.data.phase == 'done'" }
    const map = (phase: string) => ({
      object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: named('rules'), data: { phase } },
      readiness: { ...readiness, freshness: 'ignore' },
    })
    expect(await run('resource.apply', map('done'))).toMatchObject({ kind: 'ConfigMap' })
  })

  test("another manager's field is a conflict that names field and owner, and is never forced", async () => {
    const map = (value: string) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: named('shared'),
      data: { key: value },
    })
    await cluster.apply(map('theirs'), { fieldManager: 'somebody' })
    const outcome = perform('resource.apply', { object: map('ours') })
    await expect(outcome).rejects.toMatchObject({
      code: 'conflict',
      retryable: false,
      message: expect.stringMatching(/somebody.*\.data\.key|\.data\.key.*somebody/s),
    })
    expect(await cluster.get({ apiVersion: 'v1', kind: 'ConfigMap', ...named('shared') })).toMatchObject({
      data: { key: 'theirs' },
    })
  })

  test('a namesake made between the look and the deletion stays', async () => {
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: named('namesake') }
    await cluster.apply(map, { fieldManager: 'somebody' })
    const get: Cluster['get'] = async (ref, options) => {
      const seen = await cluster.get(ref, options)
      await cluster.delete(ref)
      await cluster.apply(map, { fieldManager: 'somebody' })
      return seen
    }
    const context = contextOf({ cluster: () => ({ ...cluster, get }) })
    const identity = { api_version: 'v1', kind: 'ConfigMap', ...named('namesake') }
    await expect(perform('resource.delete', identity, context)).rejects.toMatchObject({ code: 'precondition_failed' })
    expect(await cluster.get({ apiVersion: 'v1', kind: 'ConfigMap', ...named('namesake') })).toBeDefined()
  })

  test('a generated name cannot be applied, and is refused before anything is accepted', () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...named('a'), generateName: 'a-' } }
    const { error } = operation('resource.apply').input.safeParse({ object })
    expect(error?.issues).toMatchObject([{ path: ['object', 'metadata', 'generateName'] }])
  })

  test('an unknown field is permanent', async () => {
    const object = {
      apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
      kind: 'Project',
      metadata: { name: 'odd' },
      spec: { nonsense: 1 },
    }
    await expect(perform('resource.apply', { object })).rejects.toMatchObject({ retryable: false })
  })
})

describe('dry run: asks the server, changes nothing', () => {
  test.each([
    ['project.create', project('dry')],
    ['dns-zone.create', zone('dry')],
    ['vm.create', machine('dry')],
    ['resource.apply', { object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: named('dry'), data: {} } }],
  ])('%s', async (type, input) => {
    const { dryRun, input: schema } = operation(type)
    const answer = await dryRun?.(contextOf(), schema.parse(input))
    expect(answer?.diff).toContain('+ metadata.name: "dry"')
    const performed = await perform(type, input)
    expect(performed.kind).toBe('waiting')
  })

  test('of a Secret: that a value changes, not from what to what', async () => {
    const secret = (value: string) => ({
      object: { apiVersion: 'v1', kind: 'Secret', metadata: named('hidden'), stringData: { password: value } },
    })
    await run('resource.apply', secret('hunter1'))
    const { dryRun, input: schema } = operation('resource.apply')
    const answer = await dryRun?.(contextOf(), schema.parse(secret('hunter2')))
    expect(answer?.diff).toContain('- data.password: (hidden)\n+ data.password: (hidden)')
    for (const text of ['hunter1', 'hunter2', Buffer.from('hunter1').toString('base64')])
      expect(answer?.diff).not.toContain(text)
  })
})
