import { afterEach, describe, expect, test } from 'vitest'
import type { Cluster } from './cluster.ts'
import { ClusterConfigurationError, ClusterServerError } from './cluster-errors.ts'
import { FakeWatchSource } from './fake-watch-source.ts'
import { ManualClock, rest } from './manual-clock.ts'
import { createWatchHub, type WatchEvent, type WatchHub, type WatchTarget } from './watch-hub.ts'

const hubs: WatchHub[] = []
afterEach(async () => {
  await Promise.all(hubs.splice(0).map((hub) => hub.stop()))
})

function openHub() {
  const clock = new ManualClock()
  const source = new FakeWatchSource(clock)
  const asked: (string | undefined)[] = []
  const hub = createWatchHub({
    cluster: (_, identity) => {
      asked.push(identity)
      // The hub lists and watches; nothing else of a cluster is needed here.
      return source as unknown as Cluster
    },
    clock,
    random: () => 0,
  })
  hubs.push(hub)
  return { clock, source, hub, asked }
}

const things: WatchTarget = { cluster: 'test', apiVersion: 'test.dev/v1', kind: 'Thing' }

function listen(hub: WatchHub, target: Partial<WatchTarget> = {}) {
  const told: string[] = []
  const unavailable: string[] = []
  const subscription = hub.subscribe(
    { ...things, ...target },
    (event) => told.push(brief(event)),
    (error) => unavailable.push(error.message),
  )
  return { told, unavailable, ...subscription }
}

function brief(event: WatchEvent): string {
  return event.type === 'synced'
    ? `synced ${event.found}${event.current ? '' : ' (cached)'}`
    : `${event.type} ${event.object.metadata.name}`
}

describe('watch hub: what a subscriber is told', () => {
  test('the state first, then changes', async () => {
    const { source, hub } = openHub()
    source.put('a')
    const { told } = listen(hub)
    await rest()
    source.put('b')
    source.put('a', { status: 1 })
    source.remove('b')
    await rest()
    expect(told).toEqual(['snapshot a', 'synced true', 'added b', 'modified a', 'deleted b'])
  })

  test('nothing before subscribe has returned', async () => {
    const { source, hub } = openHub()
    source.put('a')
    listen(hub)
    await rest()
    const late = listen(hub)
    expect(late.told).toEqual([])
    await rest()
    expect(late.told).toEqual(['snapshot a', 'synced true (cached)'])
  })

  test('a late joiner is told from the cache, without a request', async () => {
    const { source, hub } = openHub()
    source.put('a', { status: 'ready' })
    listen(hub)
    await rest()
    const requests = source.requests.length
    const late = listen(hub, { name: 'a' })
    await rest()
    expect(late.told).toEqual(['snapshot a', 'synced true (cached)'])
    expect(source.requests.length).toBe(requests)
  })

  test('a late joiner whose object the cache does not have is told for sure soon; one list for all who ask', async () => {
    const { clock, source, hub } = openHub()
    listen(hub)
    await rest()
    const requests = source.requests.length
    const late = Array.from({ length: 100 }, (_, i) => listen(hub, { name: `thing-${i}` }))
    await clock.advance(1_500)
    expect(late[0]?.told).toEqual(['synced false (cached)', 'synced false'])
    const more = listen(hub, { name: 'more' })
    await clock.advance(3_000)
    expect(more.told).toEqual(['synced false (cached)'])
    await clock.advance(3_000)
    expect(more.told).toEqual(['synced false (cached)', 'synced false'])
    expect(source.requests.slice(requests)).toEqual(['list', 'list'])
  })

  test('a late joiner whose object comes within a second needs no list', async () => {
    const { clock, source, hub } = openHub()
    listen(hub)
    await rest()
    const requests = source.requests.length
    const late = listen(hub, { name: 'a' })
    await rest()
    source.put('a')
    await clock.advance(5_000)
    expect(late.told).toEqual(['synced false (cached)', 'added a'])
    expect(source.requests.length).toBe(requests)
  })

  test('of one object, only what concerns it', async () => {
    const { source, hub } = openHub()
    source.put('a')
    source.put('b')
    const { told } = listen(hub, { name: 'a' })
    const missing = listen(hub, { name: 'c' })
    await rest()
    source.put('b', { status: 1 })
    source.put('a', { status: 1 })
    source.put('c')
    await rest()
    expect(told).toEqual(['snapshot a', 'synced true', 'modified a'])
    expect(missing.told).toEqual(['synced false', 'added c'])
  })

  test('of one namespace on a watch over all, only what is in it', async () => {
    const { source, hub } = openHub()
    source.put('a', { namespace: 'team-a' })
    source.put('b', { namespace: 'team-b' })
    const a = listen(hub, { namespace: 'team-a', allNamespaces: true })
    const b = listen(hub, { namespace: 'team-b', name: 'b', allNamespaces: true })
    const c = listen(hub, { namespace: 'team-c', allNamespaces: true })
    await rest()
    source.put('c', { namespace: 'team-b' })
    await rest()
    expect([a.told, b.told, c.told]).toEqual([
      ['snapshot a', 'synced true'],
      ['snapshot b', 'synced true'],
      ['synced false'],
    ])
    expect(hub.stats().upstreams).toBe(1)
  })

  test('synced again after every list, while it waits', async () => {
    const { clock, hub } = openHub()
    const { told } = listen(hub, { name: 'a' })
    await rest()
    await clock.advance(24_000)
    expect(told).toEqual(['synced false', 'synced false'])
  })

  test('who only looks causes no lists', async () => {
    const { clock, source, hub } = openHub()
    const { told } = listen(hub, { awaited: false })
    await rest()
    const lists = source.requests.filter((request) => request === 'list').length
    await clock.advance(120_000)
    expect(source.requests.filter((request) => request === 'list').length).toBe(lists)
    expect(told).toEqual(['synced false'])
  })

  test('that the cluster is away, and that it is back', async () => {
    const { clock, source, hub } = openHub()
    source.streaming = 'offered'
    source.failNext('watch', new ClusterServerError('away'))
    const { told, unavailable } = listen(hub)
    await rest()
    expect(unavailable).toEqual(['away'])
    expect(told).toEqual([])
    await clock.advance(1_000)
    expect(told).toEqual(['synced false'])
  })
})

describe('watch hub: one upstream for all who may share it', () => {
  test('ten thousand waits of one kind are one watch', async () => {
    const { source, hub } = openHub()
    for (let i = 0; i < 10_000; i += 1) source.put(`thing-${i}`)
    const told = new Set<string>()
    for (let i = 0; i < 10_000; i += 1) {
      hub.subscribe({ ...things, name: `thing-${i}` }, (event) => {
        if (event.type === 'modified') told.add(event.object.metadata.name)
      })
    }
    await rest()
    for (let i = 0; i < 10_000; i += 1) source.put(`thing-${i}`, { status: 'ready' })
    await rest()
    expect(told.size).toBe(10_000)
    expect(source.watches.size).toBe(1)
    expect(hub.stats()).toMatchObject({ upstreams: 1, subscribers: 10_000, objects: 10_000 })
  })

  test.each<[string, Partial<WatchTarget>]>([
    ['cluster', { cluster: 'other' }],
    ['base path', { basePath: '/organizations/acme' }],
    ['identity', { identity: 'alice' }],
    ['kind', { kind: 'Other' }],
    ['version', { apiVersion: 'test.dev/v2' }],
    ['namespace', { namespace: 'team-a' }],
    ['label selector', { labelSelector: 'a=b' }],
    ['field selector', { fieldSelector: 'metadata.name=a' }],
  ])('another %s is another upstream', async (_, target) => {
    const { hub } = openHub()
    listen(hub)
    listen(hub, target)
    listen(hub, target)
    await rest()
    expect(hub.stats().upstreams).toBe(2)
  })

  test('the cluster is asked for in the name of the subscriber', () => {
    const { hub, asked } = openHub()
    listen(hub, { identity: 'alice' })
    expect(asked[0]).toBe('alice')
    expect(new Set(asked).size).toBe(1)
  })

  test('a cluster that is not configured is refused at once; one that is taken away later is unavailable', async () => {
    const clock = new ManualClock()
    const source = new FakeWatchSource(clock)
    let known = false
    const hub = createWatchHub({
      cluster: () => {
        if (!known) throw new ClusterConfigurationError('There is no cluster "test".')
        // The hub lists and watches; nothing else of a cluster is needed here.
        return source as unknown as Cluster
      },
      clock,
      random: () => 0,
    })
    hubs.push(hub)
    expect(() => listen(hub)).toThrow(ClusterConfigurationError)
    known = true
    const { told, unavailable } = listen(hub)
    await rest()
    known = false
    source.cut()
    await clock.advance(10_000)
    expect(unavailable.at(-1)).toBe('There is no cluster "test".')
    known = true
    source.put('a')
    await clock.advance(60_000)
    expect(told).toContain('added a')
  })

  test('it lingers after the last subscriber, then ends', async () => {
    const { clock, source, hub } = openHub()
    const first = listen(hub)
    const second = listen(hub)
    await rest()
    first.unsubscribe()
    second.unsubscribe()
    await clock.advance(29_000)
    expect(source.watches.size).toBe(1)
    const third = listen(hub)
    await clock.advance(60_000)
    expect(source.watches.size).toBe(1)
    third.unsubscribe()
    await clock.advance(30_000)
    expect(source.watches.size).toBe(0)
    expect(hub.stats()).toMatchObject({ upstreams: 0, subscribers: 0, objects: 0 })
  })

  test('unsubscribing twice counts once', async () => {
    const { clock, source, hub } = openHub()
    const first = listen(hub)
    listen(hub)
    await rest()
    first.unsubscribe()
    first.unsubscribe()
    await clock.advance(60_000)
    expect(source.watches.size).toBe(1)
  })
})

describe('watch hub: slim and whole', () => {
  test('slim by default; who wants whole objects gets them, on the same upstream', async () => {
    const { source, hub } = openHub()
    source.put('a', { spec: { replicas: 1, template: { deep: true } } })
    const specs: unknown[] = []
    const note = (event: WatchEvent): void => {
      if ('object' in event) specs.push(event.object['spec'])
    }
    hub.subscribe(things, note)
    await rest()
    hub.subscribe({ ...things, whole: true }, note)
    await rest()
    expect(specs).toEqual([{ replicas: 1 }, { replicas: 1, template: { deep: true } }])
    expect(hub.stats().upstreams).toBe(1)
  })
})

describe('watch hub: listeners', () => {
  test('one that throws does not disturb the others', async () => {
    const { source, hub } = openHub()
    hub.subscribe(things, () => {
      throw new Error('mistake')
    })
    const { told } = listen(hub)
    await rest()
    source.put('a')
    await rest()
    expect(told).toEqual(['synced false', 'added a'])
  })

  test('one that unsubscribes while it is told hears nothing more', async () => {
    const { source, hub } = openHub()
    for (const name of ['a', 'b', 'c']) source.put(name)
    const told: string[] = []
    const { unsubscribe } = hub.subscribe(things, (event) => {
      told.push(brief(event))
      unsubscribe()
    })
    await rest()
    source.put('d')
    await rest()
    expect(told).toEqual(['snapshot a'])
  })

  test('one that left before the state came hears nothing', async () => {
    const { hub } = openHub()
    const { told, unsubscribe } = listen(hub)
    unsubscribe()
    await rest()
    expect(told).toEqual([])
  })
})

describe('watch hub: stop', () => {
  test('ends every watch and timer; nobody is told anything afterwards', async () => {
    const { clock, source, hub } = openHub()
    const { told, unsubscribe } = listen(hub)
    listen(hub, { namespace: 'team-a' })
    await rest()
    await hub.stop()
    await hub.stop()
    source.put('a')
    await rest()
    expect(told).toEqual(['synced false'])
    expect(source.watches.size).toBe(0)
    unsubscribe()
    // The fake's own bookmark timer is all that is left.
    expect(clock.pending).toBe(1)
    expect(() => listen(hub)).toThrow('stopped')
  })
})
