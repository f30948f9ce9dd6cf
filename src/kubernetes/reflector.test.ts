import { afterEach, describe, expect, test } from 'vitest'
import { ClusterServerError, ForbiddenError, ThrottledError } from './cluster-errors.ts'
import { FakeWatchSource } from './fake-watch-source.ts'
import { ManualClock, rest } from './manual-clock.ts'
import { namesIn, reflect, stopReflectors } from './reflect-fake-source.ts'

afterEach(stopReflectors)

describe('reflector: list, then watch', () => {
  test('lists page by page and watches from the version of the list', async () => {
    const { source, reflector, state } = await reflect({
      prepare: (fake) => {
        for (let i = 0; i < 1001; i += 1) fake.put(`thing-${i}`)
      },
    })
    expect(source.requests).toEqual(['list', 'list after 1101/500', 'list after 1101/1000', 'watch 1101'])
    expect(reflector.cache.size).toBe(1001)
    expect(state.synced).toBe(1)
  })

  test('tells every change once', async () => {
    const { source, state } = await reflect({ prepare: (fake) => fake.put('a') })
    source.put('b')
    source.put('a', { status: 1 })
    source.remove('b')
    await rest()
    expect(state.told).toEqual(['added a 101', 'added b 102', 'modified a 103', 'deleted b 104'])
  })

  test('drops managed fields', async () => {
    const { reflector } = await reflect({ prepare: (fake) => fake.put('a') })
    expect(reflector.cache.get('a')?.metadata).not.toHaveProperty('managedFields')
  })

  test('goes on from a bookmark after a quiet time, without a list', async () => {
    const { clock, source, state } = await reflect()
    state.awaited = false
    source.version = 5000
    await clock.advance(61_000)
    source.expire({ openToo: false })
    source.end()
    await rest()
    expect(source.requests).toEqual(['list', 'watch 100', 'watch 5000'])
  })

  test('a list whose continue token expires is read in one piece', async () => {
    const clock = new ManualClock()
    const source = new FakeWatchSource(clock)
    for (let i = 0; i < 600; i += 1) source.put(`thing-${i}`)
    const list = source.list.bind(source)
    source.list = async (ref, options) => {
      const page = await list(ref, options)
      if (page.continueToken !== undefined && source.requests.length === 1) {
        source.put('late')
        source.expire()
      }
      return page
    }
    const { reflector } = await reflect({
      collection: { source, ref: { apiVersion: 'v1', kind: 'Thing' }, basePath: '' },
    })
    expect(reflector.cache.size).toBe(601)
    expect(source.requests.slice(0, 3)).toEqual(['list', 'list after 700/500', 'list'])
  })
})

describe('reflector: streamed lists', () => {
  test('reads the state from the watch, which goes on', async () => {
    const { source, state, reflector } = await reflect({
      prepare: (fake) => {
        fake.streaming = 'offered'
        fake.put('a')
      },
    })
    source.put('b')
    await rest()
    expect(source.requests).toEqual(['stream'])
    expect(state.told).toEqual(['added a 101', 'added b 102'])
    expect(reflector.synced).toBe(true)
  })

  test('falls back to list and watch where the server refuses (422), and remembers', async () => {
    const { source, streaming } = await reflect({ streaming: { supported: true } })
    expect(source.requests).toEqual(['stream', 'list', 'watch 100'])
    source.expire()
    await rest()
    expect(source.requests.slice(3)).toEqual(['list', 'watch 100'])
    expect(streaming.supported).toBe(false)
  })

  test('falls back where the server overlooks the wish, and leaves no watch behind', async () => {
    const { clock, source, state } = await reflect({
      streaming: { supported: true },
      prepare: (fake) => {
        fake.streaming = 'overlooked'
        fake.put('a')
      },
    })
    expect(state.synced).toBe(0)
    await clock.advance(10_000)
    expect(source.requests).toEqual(['stream', 'list', 'watch 101'])
    expect(source.watches.size).toBe(1)
    expect(state.told).toEqual(['added a 101'])
  })

  test('falls back also when changes go on and on', async () => {
    const { clock, source, state } = await reflect({
      streaming: { supported: true },
      prepare: (fake) => (fake.streaming = 'overlooked'),
    })
    for (let i = 0; i < 13; i += 1) {
      source.put('busy', { status: i })
      await clock.advance(5_000)
    }
    expect(source.requests).toEqual(['stream', 'list', 'watch 112'])
    expect(state.synced).toBe(1)
  })

  test('a stream that breaks before its end is begun again', async () => {
    const { clock, source, state } = await reflect({
      streaming: { supported: true },
      prepare: (fake) => {
        fake.streaming = 'overlooked'
        fake.put('a')
      },
    })
    source.streaming = 'offered'
    source.cut()
    await clock.advance(1_000)
    expect(source.requests).toEqual(['stream', 'stream'])
    expect(state.told).toEqual(['added a 101'])
  })
})

describe('reflector: 410 Gone', () => {
  test.each(['event', 'http'] as const)(
    'as %s: lists again at once and tells unannounced deletions',
    async (expiry) => {
      const { clock, source, state, reflector } = await reflect({
        prepare: (fake) => {
          fake.put('stays')
          fake.put('goes')
          fake.put('changes')
        },
      })
      source.expiry = expiry
      source.silence()
      source.remove('goes')
      source.put('changes', { status: 1 })
      source.put('comes')
      source.expire({ openToo: false })
      source.cut()
      await clock.advance(1_000)
      expect(state.told.slice(3).sort()).toEqual(['added comes 106', 'deleted goes 102', 'modified changes 105'])
      expect(namesIn(reflector)).toEqual(['changes', 'comes', 'stays'])
    },
  )

  test('again and again: with growing delays, not in a tight loop', async () => {
    const { clock, source, state } = await reflect()
    const before = source.requests.length
    const always = source.watch.bind(source)
    source.watch = async (ref, options) => {
      const stream = await always(ref, options)
      source.expire()
      return stream
    }
    source.cut()
    state.awaited = false
    await clock.advance(20_000)
    expect(source.requests.length - before).toBeLessThan(16)
  })
})

describe('reflector: failures', () => {
  test('delays as client-go: 0.8 s doubled to 30 s', async () => {
    const { clock, state } = await reflect({
      isAwaited: () => false,
      prepare: (fake) => {
        for (let i = 0; i < 9; i += 1) fake.failNext('list', new ClusterServerError('boom'))
      },
    })
    await clock.advance(200_000)
    const gaps = state.retries.map((at, i) => at - (state.retries[i - 1] ?? at)).slice(1)
    expect(gaps).toEqual([800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000])
    expect(state.synced).toBe(1)
  })

  test('jitter stretches a delay up to twice', async () => {
    const { clock, state } = await reflect({
      random: () => 0.5,
      prepare: (fake) => {
        for (let i = 0; i < 3; i += 1) fake.failNext('list', new ClusterServerError('boom'))
      },
    })
    await clock.advance(10_000)
    expect((state.retries[1] ?? 0) - (state.retries[0] ?? 0)).toBe(1200)
  })

  test('delays begin anew after 2 min without a failure', async () => {
    const { clock, source, state } = await reflect()
    for (let i = 0; i < 3; i += 1) source.failNext('watch', new ClusterServerError('boom'))
    source.cut()
    await clock.advance(10_000)
    await clock.advance(120_001)
    const before = state.retries.length
    source.failNext('watch', new ClusterServerError('boom'))
    source.cut()
    await clock.advance(800)
    await clock.advance(1600)
    expect(state.retries.slice(before).map((at, i, all) => at - (all[0] ?? 0))).toEqual([0, 800])
  })

  test('Retry-After is honoured, for lists too', async () => {
    const { clock, source, state } = await reflect()
    source.failNext('watch', new ThrottledError('too many requests', { retryAfterMs: 45_000 }))
    await clock.advance(5_000)
    source.end()
    await rest()
    const before = source.requests.length
    await clock.advance(44_000)
    expect(source.requests.length).toBe(before)
    await clock.advance(2_000)
    expect(source.requests.slice(before)).toEqual(['watch 100'])
    expect(state.unavailable).toEqual(['too many requests'])
  })

  test('Retry-After of a list is honoured by the next one', async () => {
    const { clock, source } = await reflect()
    source.failNext('list', new ThrottledError('too many requests', { retryAfterMs: 60_000 }))
    await clock.advance(24_000)
    const before = source.requests.length
    await clock.advance(59_000)
    expect(source.requests.length).toBe(before)
    await clock.advance(25_000)
    expect(source.requests.length).toBe(before + 1)
  })

  test('an absurd Retry-After does not put it to sleep', async () => {
    const { clock, source } = await reflect()
    source.failNext('watch', new ThrottledError('come back tomorrow', { retryAfterMs: 86_400_000 }))
    source.cut()
    await clock.advance(125_000)
    source.put('a')
    await rest()
    expect(source.watches.size).toBe(1)
  })

  test('never gives up: also when everything is refused for a day', async () => {
    const { clock, source, state } = await reflect()
    const list = source.list.bind(source)
    const watch = source.watch.bind(source)
    source.list = () => Promise.reject(new ForbiddenError('no'))
    source.watch = () => Promise.reject(new ForbiddenError('no'))
    source.cut()
    await clock.advance(86_400_000)
    expect(state.unavailable.length).toBeGreaterThan(2000)
    source.list = list
    source.watch = watch
    source.put('a')
    await clock.advance(60_000)
    expect(state.told).toEqual(['added a 101'])
  })

  test('a broken watch goes on where it was, and tells nothing twice', async () => {
    const { clock, source, state } = await reflect({ prepare: (fake) => fake.put('a') })
    source.cut()
    source.put('b')
    await clock.advance(1_000)
    expect(source.requests).toEqual(['list', 'watch 101', 'watch 101'])
    expect(state.told).toEqual(['added a 101', 'added b 102'])
  })

  test('an event that makes no sense leads to a list', async () => {
    const { clock, source, state } = await reflect()
    source.garble()
    await clock.advance(1_000)
    expect(source.requests).toEqual(['list', 'watch 100', 'list', 'watch 100'])
    expect(state.unavailable).toHaveLength(1)
  })

  test('a watch that ends at once three times leads to a list', async () => {
    const { clock, source } = await reflect({ prepare: (fake) => fake.endAtOnce(3) })
    await clock.advance(10_000)
    expect(source.requests).toEqual(['list', 'watch 100', 'watch 100', 'watch 100', 'list', 'watch 100'])
  })

  test('a watch that ends after a while goes on at once', async () => {
    const { clock, source } = await reflect()
    await clock.advance(5_000)
    source.end()
    await rest()
    expect(source.requests).toEqual(['list', 'watch 100', 'watch 100'])
  })
})

describe('reflector: whole objects on demand', () => {
  test('slim objects become whole, and only then it is synced again', async () => {
    const { reflector, source, state } = await reflect({
      slim: true,
      prepare: (fake) => fake.put('a', { spec: { replicas: 3, template: { deep: true } }, status: { ready: true } }),
    })
    expect(reflector.cache.get('a')).toMatchObject({ spec: { replicas: 3 }, status: { ready: true } })
    expect(reflector.cache.get('a')?.['spec']).not.toHaveProperty('template')
    reflector.keepWhole()
    expect(reflector.synced).toBe(false)
    await rest()
    expect(reflector.synced).toBe(true)
    expect(reflector.cache.get('a')).toMatchObject({ spec: { replicas: 3, template: { deep: true } } })
    expect(source.watches.size).toBe(1)
    expect(state.told).toEqual(['added a 101'])
  })
})

describe('reflector: stop', () => {
  test('ends the watch, the lists and every timer, in whatever state, and may be called twice', async () => {
    const { clock, source, reflector } = await reflect()
    const other = clock.pending
    await reflector.stop()
    await reflector.stop()
    expect(source.watches.size).toBe(0)
    expect(clock.pending).toBeLessThan(other)
    // The fake's own bookmark timer is all that is left.
    expect(clock.pending).toBe(1)
  })

  test('during a delay', async () => {
    const { clock, reflector } = await reflect({
      prepare: (fake) => fake.failNext('list', new ClusterServerError('boom')),
    })
    await reflector.stop()
    expect(clock.pending).toBe(1)
  })

  test('during a request that does not answer', async () => {
    const { clock, reflector } = await reflect({ prepare: (fake) => fake.hang('list') })
    await reflector.stop()
    expect(clock.pending).toBe(1)
  })
})
