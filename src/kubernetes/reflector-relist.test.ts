import { afterEach, describe, expect, test } from 'vitest'
import { ClusterServerError } from './cluster-errors.ts'
import type { FakeWatchSource } from './fake-watch-source.ts'
import { rest } from './manual-clock.ts'
import { namesIn, reflect, stopReflectors } from './reflect-fake-source.ts'

afterEach(stopReflectors)

describe('reflector: connections that are open and dead', () => {
  test('no bookmark for 150 s: reconnects', async () => {
    const { clock, source, state } = await reflect({ isAwaited: () => false })
    source.silence()
    await clock.advance(149_000)
    expect(source.requests).toEqual(['list', 'watch 100'])
    source.put('a')
    await clock.advance(2_000)
    expect(source.requests).toEqual(['list', 'watch 100', 'watch 100'])
    expect(state.told).toEqual(['added a 101'])
  })

  test('bookmarks keep a quiet watch', async () => {
    const { clock, source } = await reflect({ isAwaited: () => false })
    await clock.advance(3_600_000)
    expect(source.requests).toEqual(['list', 'watch 100'])
  })

  test('while somebody waits, a list finds what a silent watch does not tell, and the watch begins anew', async () => {
    const { clock, source, state } = await reflect()
    source.silence()
    source.put('a')
    await clock.advance(36_000)
    expect(state.told).toEqual(['added a 101'])
    source.put('b')
    await rest()
    expect(state.told).toEqual(['added a 101', 'added b 102'])
  })

  test('a list that tells nothing new leaves the watch alone', async () => {
    const { clock, source, state } = await reflect()
    await clock.advance(120_000)
    expect(source.requests.filter((request) => request.startsWith('watch'))).toEqual(['watch 100'])
    expect(state.synced).toBeGreaterThanOrEqual(4)
  })

  test('an event that the server lost is found by the next list', async () => {
    const { clock, source, state } = await reflect()
    source.loseNext()
    source.put('lost')
    source.put('told')
    await rest()
    expect(state.told).toEqual(['added told 102'])
    await clock.advance(36_000)
    expect(state.told).toEqual(['added told 102', 'added lost 101'])
  })

  test('a list that does not answer is given up, and tried again soon', async () => {
    const { clock, source, state } = await reflect()
    const list = source.list.bind(source)
    let asked = 0
    source.list = (ref, options) => {
      asked += 1
      if (asked > 1) return list(ref, options)
      expect(options?.timeoutMs).toBe(15_000)
      return new Promise((_, reject) => clock.after(15_000, () => reject(new ClusterServerError('no answer'))))
    }
    source.silence()
    source.put('a')
    await clock.advance(60_000)
    expect(state.told).toEqual(['added a 101'])
  })

  test('nobody waits: no lists', async () => {
    const { clock, source } = await reflect({ isAwaited: () => false })
    await clock.advance(600_000)
    expect(source.requests.filter((request) => request === 'list')).toHaveLength(1)
  })
})

describe('reflector: history set back', () => {
  test('a watch at a future version is silent; the list notices and starts over', async () => {
    const { clock, source, state, reflector } = await reflect({
      prepare: (fake) => {
        fake.put('a')
        fake.put('b')
      },
    })
    source.rewind(50)
    source.remove('b')
    await clock.advance(1_000)
    expect(source.requests.at(-1)).toBe('watch 102')
    await clock.advance(36_000)
    expect(namesIn(reflector)).toEqual(['a'])
    source.put('a', { status: 'new' })
    await rest()
    expect(reflector.cache.get('a')).toMatchObject({ status: 'new' })
    expect(state.told.at(-1)).toBe('modified a 54')
  })
})

describe('reflector: a list beside a running watch', () => {
  /** Holds the next list back until it is released; its answer is from the moment when it was asked. */
  function holdLists(source: FakeWatchSource) {
    const list = source.list.bind(source)
    const { promise, resolve } = Promise.withResolvers<void>()
    source.list = async (ref, options) => {
      const page = await list(ref, options)
      await promise
      return page
    }
    return resolve
  }

  test('what the watch told meanwhile is not set back', async () => {
    const { clock, source, state, reflector } = await reflect({ prepare: (fake) => fake.put('a', { status: 1 }) })
    const release = holdLists(source)
    await clock.advance(24_000)
    source.put('a', { status: 2 })
    source.put('b')
    await rest()
    release()
    await rest()
    expect(state.told).toEqual(['added a 101', 'modified a 102', 'added b 103'])
    expect(reflector.cache.get('a')).toMatchObject({ status: 2 })
  })

  test('what was deleted meanwhile does not come back', async () => {
    const { clock, source, state, reflector } = await reflect({ prepare: (fake) => fake.put('a') })
    const release = holdLists(source)
    await clock.advance(24_000)
    source.remove('a')
    await rest()
    release()
    await rest()
    expect(state.told).toEqual(['added a 101', 'deleted a 102'])
    expect(reflector.cache.size).toBe(0)
  })

  test('what was deleted does not come back either when the watch begins anew from the list', async () => {
    const { clock, source, state, reflector } = await reflect({ prepare: (fake) => fake.put('a') })
    source.loseNext()
    source.put('lost')
    const release = holdLists(source)
    await clock.advance(24_000)
    source.put('a', { status: 2 })
    source.remove('a')
    source.put('c')
    await rest()
    release()
    await clock.advance(1_000)
    expect(state.told).toEqual(['added a 101', 'modified a 103', 'deleted a 104', 'added c 105', 'added lost 102'])
    expect(namesIn(reflector)).toEqual(['c', 'lost'])
  })

  test('410 during a list: one reading at a time', async () => {
    const { clock, source, reflector } = await reflect({ prepare: (fake) => fake.put('a') })
    const release = holdLists(source)
    await clock.advance(24_000)
    source.put('b')
    source.expire()
    await rest()
    release()
    await clock.advance(2_000)
    source.put('c')
    await rest()
    expect(namesIn(reflector)).toEqual(['a', 'b', 'c'])
  })
})
