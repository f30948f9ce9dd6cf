import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, connectCluster, type DesiredObject, type KubernetesObject } from './cluster.ts'
import { ForbiddenError, UnreachableError } from './cluster-errors.ts'
import { createDiagnoser, diagnose } from './diagnose.ts'
import { ManualClock } from './manual-clock.ts'
import { type SimulatedCluster, startSimulatedCluster } from './simulated/simulated-cluster.ts'
import { waitForReady } from './wait-for-ready.ts'
import { createWatchHub, type WatchHub } from './watch-hub.ts'

let server: SimulatedCluster
let cluster: Cluster
let hub: WatchHub
beforeAll(async () => {
  server = await startSimulatedCluster({ controllers: { podReadyAfterMs: 20 } })
  cluster = connectCluster({ name: 'default', kubeconfig: server.kubeconfig(), simulated: true })
  hub = createWatchHub({ cluster: () => cluster })
})
afterAll(async () => {
  await hub.stop()
  await cluster.stop()
  await server.stop()
})

function deployment(name: string): DesiredObject {
  const labels = { app: name }
  const containers = [{ name: 'main', image: 'registry.example.com/nope:1' }]
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default' },
    spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  }
}

describe('diagnosis', () => {
  test('of a Deployment: its Pods by owner, and their warning events, in the message of the failed wait', async () => {
    // A healthy neighbour, whose Pods are nobody else's reason.
    await cluster.apply(deployment('fine'), { fieldManager: 'test' })
    const applied = await cluster.apply(deployment('fails-to-pull'), { fieldManager: 'test' })
    const { apiVersion, kind } = applied
    const wait = waitForReady({
      hub,
      ref: { apiVersion, kind, namespace: 'default', name: 'fails-to-pull' },
      applied,
      timeoutMs: 3_000,
      diagnose: (object, signal) => diagnose(cluster, object, { signal }),
    })
    const error: unknown = await wait.catch((reason: unknown) => reason)
    expect(String(error)).toMatch(/Deployment default\/fails-to-pull is not ready after 3 s/)
    expect(String(error)).toMatch(/Seen: Pod default\/fails-to-pull-\S+: ImagePullBackOff \(Back-off pulling image/)
    expect(String(error)).toMatch(/Failed \(Failed to pull image/)
    expect(String(error)).not.toContain('fine-')
  })

  test('tells once what a controller reports of each child that it could not make', async () => {
    const metadata = { name: 'maker', namespace: 'default' }
    const maker = { apiVersion: 'v1', kind: 'ConfigMap', metadata }
    const object = await cluster.apply(maker, { fieldManager: 'test' })
    const messages = ['pods "web-1" is forbidden: over quota', 'pods "web-2" is forbidden: over quota', 'no node fits']
    for (const [index, message] of messages.entries()) {
      await cluster.create({
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: `maker.${index}`, namespace: 'default' },
        involvedObject: { kind: 'ConfigMap', namespace: 'default', name: 'maker', uid: object.metadata.uid },
        type: 'Warning',
        reason: 'FailedCreate',
        message: index === 1 ? `(combined from similar events): ${message}` : message,
        lastTimestamp: new Date(Date.now() + index * 1_000).toISOString().replace(/\.\d+/, ''),
      })
    }
    expect(await diagnose(cluster, object)).toBe(
      `Seen: ConfigMap default/maker: FailedCreate (no node fits); ConfigMap default/maker: FailedCreate (${messages[1]}).`,
    )
  })

  test('of an object without children or events: nothing to say', async () => {
    const object = await cluster.apply(
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'quiet', namespace: 'default' } },
      { fieldManager: 'test' },
    )
    expect(await diagnose(cluster, object)).toBeUndefined()
  })

  const object: KubernetesObject = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'a', namespace: 'default', uid: 'u', resourceVersion: '1' },
  }
  const failing = (list: Cluster['list']): Cluster => ({ ...cluster, list })

  test('where nothing may be read: nothing to say', async () => {
    const list: Cluster['list'] = () => Promise.reject(new ForbiddenError('no'))
    expect(await diagnose(failing(list), object)).toBeUndefined()
  })

  test.each(['ReplicaSet', 'Pod', 'Event'])('where %ss cannot be had at the moment: is no clean bill', async (away) => {
    const list: Cluster['list'] = (collection, call) =>
      collection.kind === away ? Promise.reject(new UnreachableError('gone')) : cluster.list(collection, call)
    await expect(diagnose(failing(list), object)).rejects.toThrow(UnreachableError)
  })

  test('ends with its signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(
      diagnose(
        failing(() => Promise.reject(new Error('aborted'))),
        object,
        { signal },
      ),
    ).rejects.toThrow('enough')
  })

  test('of many objects at one moment reads each namespace once', async () => {
    const asked: string[] = []
    const list: Cluster['list'] = (collection) => {
      asked.push(collection.kind)
      return Promise.resolve({ items: [], resourceVersion: '1', continueToken: undefined })
    }
    const clock = new ManualClock()
    const diagnoseMany = createDiagnoser(clock)
    const one = failing(list)
    const others = Array.from({ length: 20 }, (_, i) => ({ ...object, metadata: { ...object.metadata, uid: `u${i}` } }))
    await Promise.all([object, ...others].map((each) => diagnoseMany(one, each)))
    expect(asked.filter((kind) => kind === 'Pod')).toEqual(['Pod'])
    await clock.advance(2_000)
    await diagnoseMany(one, object)
    expect(asked.filter((kind) => kind === 'Pod')).toEqual(['Pod', 'Pod'])
  })

  test('of a kind that makes no pods reads its events only', async () => {
    const asked: string[] = []
    const list: Cluster['list'] = ({ kind, fieldSelector }) => {
      asked.push(`${kind} ${fieldSelector ?? ''}`)
      return Promise.resolve({ items: [], resourceVersion: '1', continueToken: undefined })
    }
    await diagnose(failing(list), { ...object, apiVersion: 'example.com/v1', kind: 'Widget' })
    expect(asked).toEqual(['Event type=Warning,involvedObject.uid=u'])
  })

  test('is short, however much is wrong', async () => {
    const pods = Array.from({ length: 40 }, (_, i) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `a-${i}`,
        namespace: 'default',
        uid: `p${i}`,
        resourceVersion: '1',
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'a', uid: 'u' }],
      },
      status: {
        containerStatuses: [
          { name: 'm', state: { waiting: { reason: 'CrashLoopBackOff', message: 'x\n'.repeat(5000) } } },
        ],
      },
    }))
    const list: Cluster['list'] = (collection) =>
      Promise.resolve({ items: collection.kind === 'Pod' ? pods : [], resourceVersion: '1', continueToken: undefined })
    const text = await diagnose(failing(list), object)
    expect(text).toMatch(/^Seen: Pod default\/a-0: CrashLoopBackOff .*; and 35 more\.$/)
    expect(text?.length).toBeLessThan(2000)
  })
})
