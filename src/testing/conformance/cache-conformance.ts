import assert from 'node:assert/strict'
import type { Cache } from '../../platform/cache.ts'
import { type ConformanceSuite, eventually, gate, uniqueName } from './conformance-case.ts'

export interface CacheSubject {
  readonly cache: Cache
}

const minute = { ttlMs: 60_000 }

/** What every `Cache` promises. */
export const cacheConformance: ConformanceSuite<CacheSubject> = [
  {
    name: 'answers undefined for a key that was never set',
    run: async ({ cache }) => {
      const key = uniqueName('absent')
      assert.equal(await cache.get(key), undefined)
      assert.equal(await cache.exists(key), false)
      assert.equal(await cache.delete(key), false)
    },
  },
  {
    name: 'gives back what JSON can hold, null and falsy values included',
    run: async ({ cache }) => {
      for (const value of [null, 0, false, '', 'é\u2028"', 1.5, [], [1, [null]], { a: { b: ['c'] } }]) {
        const key = uniqueName('value')
        await cache.set(key, value, minute)
        assert.deepEqual(await cache.get(key), value)
        assert.equal(await cache.exists(key), true)
      }
    },
  },
  {
    name: 'hands out copies: changing one changes nothing in the cache',
    run: async ({ cache }) => {
      const key = uniqueName('copy')
      const original = { list: [1] }
      await cache.set(key, original, minute)
      original.list.push(2)
      const first = await cache.get<{ list: number[] }>(key)
      first?.list.push(3)
      assert.deepEqual(await cache.get(key), { list: [1] })
    },
  },
  {
    name: 'replaces a value, and forgets it on delete',
    run: async ({ cache }) => {
      const key = uniqueName('replace')
      await cache.set(key, 1, minute)
      await cache.set(key, 2, minute)
      assert.equal(await cache.get(key), 2)
      assert.equal(await cache.delete(key), true)
      assert.equal(await cache.get(key), undefined)
      assert.equal(await cache.delete(key), false)
    },
  },
  {
    name: 'keeps keys apart, whatever characters they have',
    run: async ({ cache }) => {
      const base = uniqueName('key')
      const keys = [`${base}:a`, `${base}:a*`, `${base}/ä`, `${base}%61`, `${base}'"\\`]
      for (const key of keys) await cache.set(key, key, minute)
      for (const key of keys) assert.equal(await cache.get(key), key)
    },
  },
  {
    name: 'serves an entry for its time in milliseconds and never after it',
    run: async ({ cache }) => {
      const key = uniqueName('short')
      const setAt = performance.now()
      await cache.set(key, 'brief', { ttlMs: 150 })
      const stillThere = await cache.get(key)
      // Says something only when the machine was fast enough to ask in time.
      if (performance.now() - setAt < 150) assert.equal(stillThere, 'brief')
      await eventually('the entry is gone', async () => !(await cache.exists(key)))
      assert.ok(performance.now() - setAt >= 140, 'the entry was gone before its time')
      assert.equal(await cache.get(key), undefined)
      assert.equal(await cache.delete(key), false, 'an expired entry does not count as deleted')
    },
  },
  {
    name: 'starts the time anew with every set',
    run: async ({ cache }) => {
      const key = uniqueName('renewed')
      await cache.set(key, 1, { ttlMs: 50 })
      await cache.set(key, 2, minute)
      const other = uniqueName('witness')
      await cache.set(other, 1, { ttlMs: 50 })
      await eventually('an entry of the same age expires', async () => !(await cache.exists(other)))
      assert.equal(await cache.get(key), 2)
    },
  },
  {
    name: 'refuses keys, values and times that cannot be kept',
    run: async ({ cache }) => {
      const refused = { code: 'invalid_argument' }
      await assert.rejects(cache.set('', 1, minute), refused)
      await assert.rejects(cache.get('k'.repeat(513)), refused)
      await assert.rejects(cache.set('k', undefined, minute), refused)
      for (const ttlMs of [0, -1, Number.NaN, Infinity]) await assert.rejects(cache.set('k', 1, { ttlMs }), refused)
    },
  },
  {
    name: 'getOrSet loads once for all who ask at the same time, and stores the result',
    run: async ({ cache }) => {
      const key = uniqueName('flight')
      const loading = gate()
      let loads = 0
      const load = async () => {
        loads++
        await loading.opened
        return { n: loads }
      }
      const callers = Array.from({ length: 10 }, () => cache.getOrSet(key, load, minute))
      await eventually('the load has begun', () => loads > 0)
      loading.open()
      const answers = await Promise.all(callers)
      assert.deepEqual(answers, Array(10).fill({ n: 1 }))
      assert.notEqual(answers[0], answers[1], 'callers share one object')
      assert.deepEqual(await cache.getOrSet(key, load, minute), { n: 1 })
      assert.deepEqual(await cache.get(key), { n: 1 })
      assert.equal(loads, 1)
    },
  },
  {
    name: 'getOrSet tells all who wait when the load fails, stores nothing and loads again next time',
    run: async ({ cache }) => {
      const key = uniqueName('failing')
      let loads = 0
      const fail = async () => {
        loads++
        throw new Error('source is down')
      }
      const answers = await Promise.allSettled([cache.getOrSet(key, fail, minute), cache.getOrSet(key, fail, minute)])
      assert.deepEqual(
        answers.map((answer) => answer.status),
        ['rejected', 'rejected'],
      )
      assert.equal(loads, 1)
      assert.equal(await cache.exists(key), false)
      assert.equal(await cache.getOrSet(key, async () => 'up again', minute), 'up again')
    },
  },
]
