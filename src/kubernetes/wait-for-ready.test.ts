import { afterEach, describe, expect, test } from 'vitest'
import type { Cluster } from './cluster.ts'
import { ForbiddenError } from './cluster-errors.ts'
import { type FakeFields, FakeWatchSource } from './fake-watch-source.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { ManualClock, rest } from './manual-clock.ts'
import type { ReadinessRules } from './readiness.ts'
import {
  NotReadyError,
  type ReadyWaitOptions,
  waitForDeleted,
  waitForDnsZoneReady,
  waitForProjectReady,
  waitForReady,
  waitForVirtualMachineReady,
} from './wait-for-ready.ts'
import { createWatchHub, type WatchHub, type WatchTarget } from './watch-hub.ts'

const hubs: WatchHub[] = []
afterEach(async () => {
  await Promise.all(hubs.splice(0).map((hub) => hub.stop()))
})

const rules: ReadinessRules = {
  conditions: [{ type: 'Ready' }],
  failureReasons: [
    { reason: 'Broken', graceMs: 10_000 },
    { reason: 'Hopeless', graceMs: 0 },
  ],
}
const ref = { apiVersion: 'test.dev/v1', kind: 'Thing', name: 'a' }

const withCondition = (status: string, reason: string, message = ''): FakeFields => ({
  status: { conditions: [{ type: 'Ready', status, reason, message }] },
})
const ready = withCondition('True', 'Up')

function setUp() {
  const clock = new ManualClock()
  const source = new FakeWatchSource(clock)
  const targets: WatchTarget[] = []
  const inner = createWatchHub({
    // The hub lists and watches; nothing else of a cluster is needed here.
    cluster: () => source as unknown as Cluster,
    clock,
    random: () => 0,
    lingerMs: 0,
  })
  const hub: WatchHub = {
    ...inner,
    subscribe: (target, ...callbacks) => {
      targets.push(target)
      return inner.subscribe(target, ...callbacks)
    },
    basePathFor: (_, variables) => `/base/${JSON.stringify(variables)}`,
  }
  hubs.push(hub)
  const wait = (options: Partial<ReadyWaitOptions> = {}): Promise<KubernetesObject> => {
    const promise = waitForReady({ hub, ref, rules, clock, ...options })
    // Looked at by the test itself.
    promise.catch(() => {})
    return promise
  }
  /** That nothing of the wait is left. */
  const expectReleased = async (): Promise<void> => {
    await clock.advance(1)
    expect(hub.stats()).toMatchObject({ upstreams: 0, subscribers: 0 })
    expect(clock.pending).toBe(1)
  }
  return { clock, source, hub, targets, wait, expectReleased }
}

describe('waitForReady settles', () => {
  test('when the object becomes ready', async () => {
    const { source, wait, expectReleased } = setUp()
    const applied = source.put('a')
    const promise = wait({ applied })
    await rest()
    source.put('a', withCondition('False', 'Working'))
    await rest()
    source.put('a', ready)
    await expect(promise).resolves.toMatchObject({ status: ready.status })
    await expectReleased()
  })

  test('at once when the answer of the apply is ready: nothing is watched', async () => {
    const { source, wait, targets } = setUp()
    const applied = source.put('a', ready)
    await expect(wait({ applied })).resolves.toBe(applied)
    expect(targets).toEqual([])
  })

  test('when the object became ready before anybody watched', async () => {
    const { source, wait, expectReleased } = setUp()
    const applied = source.put('a')
    source.put('a', ready)
    await expect(wait({ applied })).resolves.toMatchObject({ status: ready.status })
    await expectReleased()
  })

  test('when the object is made later', async () => {
    const { source, wait } = setUp()
    const promise = wait()
    await rest()
    source.put('a', ready)
    await expect(promise).resolves.toMatchObject({ metadata: { name: 'a' } })
  })

  test('when a declared failure has lasted for its grace, though nothing happens any more', async () => {
    const { clock, source, wait, expectReleased } = setUp()
    const promise = wait({ applied: source.put('a') })
    await rest()
    source.put('a', withCondition('False', 'Broken', 'disk is full'))
    await clock.advance(9_999)
    await clock.advance(1)
    await expect(promise).rejects.toMatchObject({
      code: 'resource_failed',
      reason: 'Broken',
      message: 'Thing a failed: Broken. disk is full.',
    })
    await expectReleased()
  })

  test('not when the failure went away within its grace', async () => {
    const { clock, source, wait } = setUp()
    const promise = wait({ applied: source.put('a') })
    await rest()
    source.put('a', withCondition('False', 'Broken'))
    await clock.advance(9_000)
    source.put('a', withCondition('False', 'Working'))
    await clock.advance(9_000)
    source.put('a', ready)
    await expect(promise).resolves.toBeDefined()
  })

  test('when the object is deleted', async () => {
    const { source, wait, expectReleased } = setUp()
    const promise = wait({ applied: source.put('a') })
    await rest()
    source.remove('a')
    await expect(promise).rejects.toMatchObject({ code: 'resource_gone' })
    await expectReleased()
  })

  test('when the object was deleted before anybody watched', async () => {
    const { source, wait } = setUp()
    const applied = source.put('a')
    source.remove('a')
    await expect(wait({ applied })).rejects.toMatchObject({ code: 'resource_gone' })
  })

  test('when the object was deleted before anybody watched, and the watch is warm: within a second or two', async () => {
    const { clock, source, hub, wait } = setUp()
    hub.subscribe({ cluster: 'default', apiVersion: ref.apiVersion, kind: ref.kind }, () => {})
    await rest()
    const applied = source.put('a')
    source.remove('a')
    await rest()
    const promise = wait({ applied })
    await clock.advance(1_500)
    await expect(promise).rejects.toMatchObject({ code: 'resource_gone' })
  })

  test.each([
    ['an earlier object of its name', true],
    ['no object of its name', false],
  ])('not when the watch is late, and still knows %s', async (_, earlier) => {
    const { clock, source, hub, wait } = setUp()
    if (earlier) source.put('a', ready)
    hub.subscribe({ cluster: 'default', apiVersion: ref.apiVersion, kind: ref.kind }, () => {})
    await rest()
    source.silence()
    source.hang('list')
    if (earlier) source.remove('a')
    const applied = source.put('a')
    const promise = wait({ applied })
    await clock.advance(20_000)
    source.hang()
    source.put('a', ready)
    await clock.advance(60_000)
    await expect(promise).resolves.toMatchObject({ metadata: { uid: applied.metadata.uid } })
  })

  test('not when the watch tells late that an earlier object of its name was deleted', async () => {
    const { source, hub, wait } = setUp()
    source.put('a', ready)
    hub.subscribe({ cluster: 'default', apiVersion: ref.apiVersion, kind: ref.kind }, () => {})
    await rest()
    source.remove('a')
    const applied = source.put('a')
    const promise = wait({ applied })
    await rest()
    source.put('a', ready)
    await expect(promise).resolves.toMatchObject({ metadata: { uid: applied.metadata.uid } })
  })

  test('when another object has its name, however ready', async () => {
    const { source, wait } = setUp()
    const applied = source.put('a')
    source.remove('a')
    source.put('a', ready)
    await expect(wait({ applied })).rejects.toMatchObject({ code: 'resource_replaced' })
  })

  test('at the deadline, with the last reason', async () => {
    const { clock, source, wait, expectReleased } = setUp()
    const promise = wait({ applied: source.put('a'), timeoutMs: 60_000 })
    await rest()
    source.put('a', withCondition('False', 'Working', 'step 3 of 7'))
    await clock.advance(60_000)
    await expect(promise).rejects.toMatchObject({
      code: 'timed_out',
      reason: 'Working',
      message: 'Thing a is not ready after 60 s (last: Working). step 3 of 7.',
    })
    await expectReleased()
  })

  test('at the deadline, saying that the cluster could not be read', async () => {
    const { clock, source, wait, expectReleased } = setUp()
    source.list = () => Promise.reject(new ForbiddenError('things is forbidden'))
    const promise = wait({ timeoutMs: 60_000 })
    await clock.advance(60_000)
    await expect(promise).rejects.toThrow('The cluster cannot be read: things is forbidden.')
    await expectReleased()
  })

  test('by its signal', async () => {
    const { source, wait, expectReleased } = setUp()
    const abort = new AbortController()
    const promise = wait({ applied: source.put('a'), signal: abort.signal })
    await rest()
    abort.abort(new Error('cancelled'))
    await expect(promise).rejects.toThrow('cancelled')
    await expectReleased()
  })

  test('by a signal that has fired before', async () => {
    const { wait, targets } = setUp()
    await expect(wait({ signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow('too late')
    expect(targets).toEqual([])
  })

  test('when the hub refuses', async () => {
    const { hub, wait } = setUp()
    await hub.stop()
    await expect(wait()).rejects.toThrow('stopped')
  })
})

describe('waitForReady explains', () => {
  test('a failure', async () => {
    const { source, wait } = setUp()
    const promise = wait({ applied: source.put('a'), diagnose: () => Promise.resolve('Seen: Pod a-1: ErrImagePull.') })
    await rest()
    source.put('a', withCondition('False', 'Hopeless', 'no'))
    await expect(promise).rejects.toThrow('Thing a failed: Hopeless. no. Seen: Pod a-1: ErrImagePull.')
  })

  test('a timeout, but not for longer than 5 s', async () => {
    const { clock, source, wait, expectReleased } = setUp()
    const promise = wait({ applied: source.put('a'), timeoutMs: 1000, diagnose: () => new Promise(() => {}) })
    await clock.advance(1000)
    await clock.advance(5000)
    await expect(promise).rejects.toBeInstanceOf(NotReadyError)
    await expectReleased()
  })

  test('a failure, also when the explanation fails', async () => {
    const { source, wait } = setUp()
    const promise = wait({ applied: source.put('a'), diagnose: () => Promise.reject(new Error('403')) })
    await rest()
    source.put('a', withCondition('False', 'Hopeless', 'no'))
    await expect(promise).rejects.toThrow('Thing a failed: Hopeless. no.')
  })

  test('what it waits for, and after 15 s what its children say', async () => {
    const { clock, source, wait } = setUp()
    const told: string[] = []
    const promise = wait({
      applied: source.put('a'),
      onPending: (reason, message) => told.push(`${reason}: ${message}`),
      diagnose: () => Promise.resolve('Seen: Pod a-1: Unschedulable.'),
    })
    await rest()
    source.put('a', withCondition('False', 'Working', 'step 1'))
    await rest()
    source.put('a', withCondition('False', 'Working', 'step 1'))
    await clock.advance(15_000)
    source.put('a', ready)
    await promise
    expect(told).toEqual([
      'NoStatus: Its controller has not written a status yet.',
      'Working: step 1',
      'Working: step 1 Seen: Pod a-1: Unschedulable.',
    ])
  })
})

describe('waits of one kind', () => {
  test('waitForDeleted: when the object with that uid is gone', async () => {
    const { clock, source, hub, expectReleased } = setUp()
    const { uid } = source.put('a').metadata
    const promise = waitForDeleted({ hub, ref, uid, clock })
    await rest()
    source.remove('a')
    await expect(promise).resolves.toBeUndefined()
    await expectReleased()
    await expect(waitForDeleted({ hub, ref, uid, clock })).resolves.toBeUndefined()
    await expectReleased()
    source.put('a')
    await expect(waitForDeleted({ hub, ref, uid, clock })).resolves.toBeUndefined()
  })

  test('waitForDeleted: times out while a finalizer holds it', async () => {
    const { clock, source, hub } = setUp()
    const { uid } = source.put('a').metadata
    const promise = waitForDeleted({ hub, ref, uid, clock, timeoutMs: 1000 })
    promise.catch(() => {})
    await clock.advance(1000)
    await expect(promise).rejects.toMatchObject({ code: 'timed_out', reason: 'NotDeleted' })
  })

  test('waitForProjectReady looks at the control plane of the organization', async () => {
    const { clock, source, hub, targets } = setUp()
    const promise = waitForProjectReady('acme', 'web', { hub, clock })
    await rest()
    source.put('web', ready)
    await expect(promise).resolves.toBeDefined()
    expect(targets).toEqual([
      expect.objectContaining({
        cluster: 'default',
        kind: 'Project',
        name: 'web',
        namespace: undefined,
        basePath: '/base/{"org":"acme"}',
      }),
    ])
  })

  test('waitForDnsZoneReady looks at the control plane of the project', async () => {
    const { clock, source, hub, targets } = setUp()
    const promise = waitForDnsZoneReady('web', 'example-com', { hub, clock })
    await rest()
    const conditions = ['Accepted', 'Programmed'].map((type) => ({ type, status: 'True' }))
    source.put('example-com', { namespace: 'default', status: { conditions } })
    await expect(promise).resolves.toBeDefined()
    expect(targets).toEqual([
      expect.objectContaining({ kind: 'DNSZone', namespace: 'default', basePath: '/base/{"project":"web"}' }),
    ])
  })

  test('waitForVirtualMachineReady waits for what the run strategy wants', async () => {
    const { clock, source, hub } = setUp()
    const promise = waitForVirtualMachineReady('team-a', 'web', { hub, clock })
    await rest()
    source.put('web', { namespace: 'team-a', spec: { runStrategy: 'Always' }, ...ready })
    await expect(promise).resolves.toBeDefined()
  })
})
