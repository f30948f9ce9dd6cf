import { expect, test } from 'vitest'
import { ClusterServerError } from './cluster-errors.ts'
import { readPages, streamList, type WatchSource } from './collection-reader.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { ManualClock } from './manual-clock.ts'

const object: KubernetesObject = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'a', uid: 'u', resourceVersion: '1' },
}
const endless: WatchSource = {
  list: () =>
    Promise.resolve({ items: Array.from({ length: 50_000 }, () => object), resourceVersion: '1', continueToken: 'on' }),
  // Never asks for time: a server that sends as fast as it is read.
  watch: async () =>
    (async function* () {
      for (;;) yield { type: 'ADDED', object }
    })(),
}
const collection = { source: endless, ref: { apiVersion: 'v1', kind: 'ConfigMap' }, basePath: '' }

test.each([
  [
    'pages',
    (reading: Parameters<typeof readPages>[1], signal: AbortSignal) => readPages(collection, reading, { signal }),
  ],
  [
    'a stream',
    (reading: Parameters<typeof readPages>[1], signal: AbortSignal) =>
      streamList(collection, reading, { signal, random: () => 0, clock: new ManualClock() }),
  ],
])('a list without an end, in %s, is given up before it fills the memory', async (_, read) => {
  let held = 0
  const reading = { begin: () => (held = 0), add: () => (held += 1) }
  await expect(read(reading, new AbortController().signal)).rejects.toThrow(ClusterServerError)
  expect(held).toBeLessThanOrEqual(500_000)
})
