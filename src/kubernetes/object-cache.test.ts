import { describe, expect, test } from 'vitest'
import type { KubernetesObject } from './kubernetes-object.ts'
import { ObjectCache, slimObject } from './object-cache.ts'

const things = { apiVersion: 'test.dev/v1', kind: 'Thing' }

function thing(
  name: string,
  version: number,
  extra: { readonly uid?: string; readonly [field: string]: unknown } = {},
): KubernetesObject {
  const { uid = `uid-${name}`, ...fields } = extra
  return {
    apiVersion: 'test.dev/v1',
    kind: 'Thing',
    metadata: { name, uid, resourceVersion: String(version) },
    ...fields,
  }
}

const brief = (changes: ReturnType<ObjectCache['put']>): string[] =>
  changes.map(
    ({ type, object }) => `${type} ${object.metadata.name} ${object.metadata.uid} ${object.metadata.resourceVersion}`,
  )

function list(cache: ObjectCache, version: number, objects: readonly KubernetesObject[], backwards = false): string[] {
  cache.beginReplacement()
  for (const object of objects) cache.addToReplacement(object)
  return brief(cache.replace(String(version), backwards))
}

describe('object cache: events', () => {
  test('the same version again changes nothing, an older one neither', () => {
    const cache = new ObjectCache(things, false)
    expect(brief(cache.put(thing('a', 10)))).toEqual(['added a uid-a 10'])
    expect(cache.put(thing('a', 10))).toEqual([])
    expect(cache.put(thing('a', 9))).toEqual([])
    expect(brief(cache.put(thing('a', 11)))).toEqual(['modified a uid-a 11'])
  })

  test('a namesake with another uid is a deletion and a creation', () => {
    const cache = new ObjectCache(things, false)
    cache.put(thing('a', 10, { uid: 'old' }))
    expect(brief(cache.put(thing('a', 20, { uid: 'new' })))).toEqual(['deleted a old 10', 'added a new 20'])
  })

  test('the deletion of a former namesake does not touch the present one', () => {
    const cache = new ObjectCache(things, false)
    cache.put(thing('a', 20, { uid: 'new' }))
    expect(cache.remove(thing('a', 15, { uid: 'old' }))).toEqual([])
    expect(cache.has('a')).toBe(true)
  })

  test('versions that are no numbers are taken as they come', () => {
    const cache = new ObjectCache(things, false)
    const odd = (version: string): KubernetesObject => ({
      ...thing('a', 0),
      metadata: { name: 'a', uid: 'u', resourceVersion: version },
    })
    cache.put(odd('zeta'))
    expect(brief(cache.put(odd('alpha')))).toEqual(['modified a u alpha'])
  })
})

describe('object cache: lists', () => {
  test('tells what is different, and deletions that nobody announced', () => {
    const cache = new ObjectCache(things, false)
    list(cache, 10, [thing('same', 1), thing('gone', 2), thing('changed', 3)])
    expect(list(cache, 20, [thing('same', 1), thing('changed', 15), thing('new', 16)])).toEqual([
      'modified changed uid-changed 15',
      'added new uid-new 16',
      'deleted gone uid-gone 2',
    ])
  })

  test('what was made after the list stays', () => {
    const cache = new ObjectCache(things, false)
    list(cache, 10, [])
    cache.beginReplacement()
    cache.put(thing('new', 25))
    expect(cache.replace('20', false)).toEqual([])
    expect(cache.has('new')).toBe(true)
  })

  test('a history that was set back makes everything known void', () => {
    const cache = new ObjectCache(things, false)
    list(cache, 100, [thing('a', 90), thing('b', 95)])
    expect(list(cache, 50, [thing('a', 40)], true)).toEqual(['modified a uid-a 40', 'deleted b uid-b 95'])
    expect(brief(cache.put(thing('a', 51)))).toEqual(['modified a uid-a 51'])
  })

  test('a list knows better than what was known before it began, whatever the versions say', () => {
    const cache = new ObjectCache(things, false)
    list(cache, 100, [thing('a', 90), thing('b', 95), thing('c', 97)])
    expect(list(cache, 101, [thing('a', 80), thing('b', 95, { uid: 'other' })])).toEqual([
      'modified a uid-a 80',
      'deleted b uid-b 95',
      'added b other 95',
      'deleted c uid-c 97',
    ])
  })

  test('a version that was given twice is told by its content', () => {
    const cache = new ObjectCache(things, false)
    list(cache, 100, [thing('a', 90, { status: 'old' })])
    expect(list(cache, 100, [thing('a', 90, { status: 'new' })])).toEqual(['modified a uid-a 90'])
  })

  test('objects whose versions stayed above a history that was set back can still change', () => {
    const cache = new ObjectCache(things, false)
    list(cache, 100, [thing('a', 90)])
    list(cache, 50, [thing('a', 90)], true)
    list(cache, 51, [thing('a', 90)])
    expect(brief(cache.put(thing('a', 52)))).toEqual(['modified a uid-a 52'])
  })
})

describe('object cache: what is kept', () => {
  const machine: KubernetesObject = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: {
      name: 'web',
      namespace: 'team-a',
      uid: '6f0d0f3e-7a43-4c1e-9c8e-2f5a3b1c4d5e',
      resourceVersion: '123456',
      generation: 2,
      labels: { app: 'web' },
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'x'.repeat(2000) },
      managedFields: [{ manager: 'sluice' }],
    },
    spec: { runStrategy: 'Always', template: { spec: { domain: { memory: 'x'.repeat(500) } } } },
    status: {
      printableStatus: 'Running',
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }],
    },
  }

  test('slim: identity, status without times, and plain values of the spec', () => {
    expect(slimObject(machine)).toEqual({
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachine',
      metadata: {
        name: 'web',
        namespace: 'team-a',
        uid: '6f0d0f3e-7a43-4c1e-9c8e-2f5a3b1c4d5e',
        resourceVersion: '123456',
        generation: 2,
      },
      spec: { runStrategy: 'Always' },
      status: { printableStatus: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    })
  })

  test('slim and whole: what goes in comes out', () => {
    for (const slim of [true, false]) {
      const cache = new ObjectCache({ apiVersion: machine.apiVersion, kind: machine.kind }, slim)
      const [change] = cache.put(machine)
      expect(cache.get('team-a/web')).toEqual(change?.object)
      expect([...cache.objects()]).toEqual([change?.object])
    }
  })

  test('slim: what holds an object that is being deleted', () => {
    const metadata = { ...machine.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['test.dev/hold'] }
    expect(slimObject({ ...machine, metadata }).metadata).toMatchObject({ finalizers: ['test.dev/hold'] })
  })

  test('slim: thousands in one state take about 0.2 KB each', () => {
    const cache = new ObjectCache(things, true)
    const texts = new Set<unknown>()
    const stringify = JSON.stringify
    JSON.stringify = (value: unknown) => {
      const text = stringify(value)
      texts.add(text)
      return text
    }
    try {
      const at = (i: number) => ({
        conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: `2026-01-01T00:00:0${i % 10}Z` }],
      })
      for (let i = 0; i < 1000; i += 1) cache.put(thing(`thing-${i}`, i + 1, { status: at(i) }))
    } finally {
      JSON.stringify = stringify
    }
    expect(cache.size).toBe(1000)
    expect(texts.size).toBe(1)
  })

  test('slim: never the data of a Secret', () => {
    const secret = { ...thing('s', 1), kind: 'Secret', data: { password: 'aHVudGVyMg==' } }
    expect(JSON.stringify(slimObject(secret))).not.toContain('aHVudGVyMg')
  })

  test('becoming whole is no change', () => {
    const cache = new ObjectCache(things, true)
    const whole = thing('a', 1, { data: { large: true } })
    expect(list(cache, 10, [whole])).toHaveLength(1)
    expect(cache.get('a')).not.toHaveProperty('data')
    cache.keepWhole()
    expect(list(cache, 11, [whole])).toEqual([])
    expect(cache.get('a')).toEqual(whole)
  })

  test('nobody can change what is kept', () => {
    const cache = new ObjectCache(things, false)
    const status = { ready: false }
    cache.put(thing('a', 1, { status }))
    status.ready = true
    Object.assign(cache.get('a') ?? {}, { status: 'changed' })
    expect(cache.get('a')).toMatchObject({ status: { ready: false } })
  })
})
