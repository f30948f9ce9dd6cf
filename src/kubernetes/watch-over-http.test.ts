import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Clock } from './clock.ts'
import { type Cluster, connectCluster, type KubernetesObject } from './cluster.ts'
import { createScaledClock } from './scaled-clock.ts'
import { type SimulatedCluster, startSimulatedCluster } from './simulated/simulated-cluster.ts'
import { waitForProjectReady, waitForReady } from './wait-for-ready.ts'
import { createWatchHub, type WatchEvent, type WatchHub } from './watch-hub.ts'

const apiVersion = 'v1'
const kind = 'ConfigMap'

let server: SimulatedCluster
let cluster: Cluster
let hub: WatchHub
let clock: Clock
beforeEach(async () => {
  server = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 200 }, bookmarkMs: 600 })
  cluster = connectCluster({ name: 'default', kubeconfig: server.kubeconfig(), simulated: true })
  // The hub's half minute takes 0.3 s; bookmarks come every minute of that time.
  clock = createScaledClock(100)
  hub = createWatchHub({ cluster: () => cluster, clock, lingerMs: 0 })
})
afterEach(async () => {
  await hub.stop()
  await cluster.stop()
  await server.stop()
})

const put = (name: string, value: string): Promise<KubernetesObject> =>
  cluster.apply(
    { apiVersion, kind, metadata: { name, namespace: 'default' }, data: { value } },
    { fieldManager: 'test' },
  )

const remove = (name: string) => cluster.delete({ apiVersion, kind, namespace: 'default', name })

/** Follows all config maps; `seen` resolves when the state is as wanted, however it was told. */
function follow() {
  const state = new Map<string, unknown>()
  const violations: string[] = []
  const events: string[] = []
  let check = (): void => {}
  hub.subscribe({ cluster: 'default', apiVersion, kind, namespace: 'default', whole: true }, (event) => {
    events.push(event.type)
    const problem = apply(state, event)
    if (problem) violations.push(problem)
    check()
  })
  const seen = (wanted: Record<string, unknown>): Promise<void> =>
    new Promise((resolve) => {
      check = () => {
        const now = Object.fromEntries([...state].toSorted(([a], [b]) => (a < b ? -1 : 1)))
        if (JSON.stringify(now) === JSON.stringify(wanted) && events.includes('synced')) resolve()
      }
      check()
    })
  return { state, events, violations, seen }
}

function apply(state: Map<string, unknown>, event: WatchEvent): string | undefined {
  if (event.type === 'synced') return undefined
  const { name } = event.object.metadata
  const known = state.has(name)
  if (event.type === 'deleted') state.delete(name)
  // What these objects hold.
  else state.set(name, (event.object['data'] as { value: string }).value)
  if (event.type === 'modified' || event.type === 'deleted') return known ? undefined : `${event.type} unknown ${name}`
  return known ? `${event.type} known ${name}` : undefined
}

/** Writes meet the same faults; here they are only the means. */
async function eventually<T>(write: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await write()
    } catch (error) {
      expect(error).toMatchObject({ retryable: true })
      if (tries > 200) throw error
    }
  }
}

describe('watch over HTTP: no fault hides a change, or tells one twice', () => {
  const faults: readonly (readonly [string, () => void])[] = [
    ['cut', () => server.faults.cut()],
    ['half-open', () => server.faults.halfOpen()],
    ['410 in the stream', () => server.faults.gone410()],
    [
      '429 with Retry-After',
      () => {
        server.faults.tooManyRequests({ count: 2, retryAfter: 1 })
        server.faults.cut()
      },
    ],
    [
      '500',
      () => {
        server.faults.error500({ count: 3 })
        server.faults.cut()
      },
    ],
    ['malformed JSON', () => server.faults.malformedJson()],
    [
      'slow answers',
      () => {
        server.faults.slow(100, { count: 2 })
        server.faults.cut()
      },
    ],
    ['a restart', () => server.faults.restart({ downMs: 50 })],
    ['a version from the future', () => server.faults.futureResourceVersion()],
  ]

  test.each(faults)('%s', async (_, fault) => {
    await put('stays', '1')
    await put('changes', '1')
    await put('goes', '1')
    const { seen, violations } = follow()
    await seen({ changes: '1', goes: '1', stays: '1' })
    fault()
    await eventually(() => put('changes', '2'))
    await eventually(() => remove('goes'))
    await eventually(() => put('comes', '1'))
    await seen({ changes: '2', comes: '1', stays: '1' })
    await put('comes', '2')
    await seen({ changes: '2', comes: '2', stays: '1' })
    expect(violations).toEqual([])
  })

  test.each([
    ['with streamed lists', true],
    ['without (422)', false],
  ])('%s', async (_, watchList) => {
    const other = await startSimulatedCluster({ watchList, controllers: { enabled: false } })
    const client = connectCluster({ name: 'other', kubeconfig: other.kubeconfig() })
    const watching = createWatchHub({ cluster: () => client })
    const types: string[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    watching.subscribe({ cluster: 'other', apiVersion, kind }, (event) => {
      types.push(event.type)
      if (event.type === 'added') resolve()
      if (event.type !== 'synced') return
      client
        .apply({ apiVersion, kind, metadata: { name: 'a', namespace: 'default' } }, { fieldManager: 'test' })
        .catch((error: unknown) => types.push(String(error)))
    })
    await promise
    expect(types).toEqual(['synced', 'added'])
    await watching.stop()
    await client.stop()
    await other.stop()
  })
})

// Each takes a second or two of real time.
const rounds = Math.max(3, Math.ceil(Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50) / 50))

describe(`seeded faults over HTTP, ${rounds} rounds`, () => {
  test('every wait settles as its object did, and leaves nothing', { timeout: 600_000 }, async () => {
    for (let seed = 1; seed <= rounds; seed += 1) {
      const random = seeded(seed)
      const names = Array.from({ length: 6 }, (_, i) => `${i % 3 === 2 ? 'fails' : 'web'}-${seed}-${i}`)
      const waits = names.map(async (name) => {
        const applied = await eventually(() => applyProject(name))
        const wait = waitForProjectReady('acme', name, { hub, applied, clock, timeoutMs: 1_800_000 })
        return wait.then(
          () => 'ready',
          (error: unknown) => String((error as { code?: unknown }).code),
        )
      })
      for (let i = 0; i < 8; i += 1) {
        randomFault(random)
        // The next fault comes after a real request has gone through, or failed.
        await cluster.version().catch(() => undefined)
        await new Promise((resolve) => setImmediate(resolve))
      }
      server.faults.clear()
      const outcomes = await Promise.all(waits)
      expect(outcomes, `seed ${seed}`).toEqual(
        names.map((name) => (name.startsWith('fails') ? 'resource_failed' : 'ready')),
      )
      expect(hub.stats().subscribers, `seed ${seed}`).toBe(0)
    }
  })
})

function randomFault(random: () => number): void {
  const { faults } = server
  const all = [
    () => faults.cut(),
    () => faults.halfOpen(),
    () => faults.gone410(),
    () => faults.tooManyRequests({ count: 1 + Math.floor(random() * 2), retryAfter: 1 }),
    () => faults.error500({ count: 1 + Math.floor(random() * 3) }),
    () => faults.malformedJson(),
    () => faults.slow(random() * 100, { count: 2 }),
    () => faults.restart({ downMs: random() * 50 }),
    () => faults.futureResourceVersion({ by: Math.floor(random() * 50) }),
  ]
  all[Math.floor(random() * all.length)]?.()
}

function applyProject(name: string): Promise<KubernetesObject> {
  const spec = { ownerRef: { kind: 'Organization', name: 'acme' } }
  const object = { apiVersion: 'resourcemanager.miloapis.com/v1alpha1', kind: 'Project', metadata: { name }, spec }
  return cluster.apply(object, { fieldManager: 'test' })
}

/** Small and fast; the same numbers for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

describe('many watches of one cluster', () => {
  test('150 at once are each told of their own objects: none waits behind another', async () => {
    const count = 150
    const told = new Map<number, number>()
    const all = Promise.withResolvers<void>()
    for (let i = 0; i < count; i += 1) {
      hub.subscribe({ cluster: 'default', apiVersion, kind, labelSelector: `number=${i}` }, (event) => {
        if (event.type === 'added' || event.type === 'snapshot') told.set(i, (told.get(i) ?? 0) + 1)
        if (told.size === count) all.resolve()
      })
    }
    await Promise.all(
      Array.from({ length: count }, (_, i) => {
        const metadata = { name: `of-${i}`, namespace: 'default', labels: { number: String(i) } }
        return cluster.apply({ apiVersion, kind, metadata }, { fieldManager: 'test' })
      }),
    )
    await all.promise
    expect(hub.stats().upstreams).toBe(count)
    expect([...told.values()].every((times) => times === 1)).toBe(true)
  })
})

describe('waits over HTTP', () => {
  test('a Project becomes ready', async () => {
    const desired = {
      apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
      kind: 'Project',
      metadata: { name: 'web' },
      spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
    }
    const applied = await cluster.apply(desired, { fieldManager: 'test' })
    const ready = await waitForProjectReady('acme', 'web', { hub, applied, clock, timeoutMs: 1_800_000 })
    expect(ready['status']).toMatchObject({ conditions: [{ type: 'Ready', status: 'True' }] })
    expect(hub.stats().subscribers).toBe(0)
  })

  test.each<[string, 'fail' | 'deleteAndRecreate', string]>([
    ['fails', 'fail', 'resource_failed'],
    ['is deleted and made again', 'deleteAndRecreate', 'resource_replaced'],
  ])('a Project %s', async (_, mode, code) => {
    server.faults.controller({ mode, kind: 'Project', reason: 'ProjectNameConflict' })
    const ref = { apiVersion: 'resourcemanager.miloapis.com/v1alpha1', kind: 'Project', name: 'web' }
    const desired = {
      apiVersion: ref.apiVersion,
      kind: ref.kind,
      metadata: { name: 'web' },
      spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
    }
    const applied = await cluster.apply(desired, { fieldManager: 'test' })
    const error: unknown = await waitForReady({ hub, ref, applied, clock, timeoutMs: 1_800_000 }).catch(
      (reason: unknown) => reason,
    )
    expect([code, 'resource_gone', 'terminating']).toContain((error as { code?: unknown }).code)
    expect(hub.stats().subscribers).toBe(0)
  })
})
