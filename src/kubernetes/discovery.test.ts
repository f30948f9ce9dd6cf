import { describe, expect, test } from 'vitest'
import { ClusterServerError, NotFoundError, UnknownKindError } from './cluster-errors.ts'
import { createDiscovery, groupVersionPath, resourcePath } from './discovery.ts'
import { ManualClock, rest } from './manual-clock.ts'
import type { ApiRequest, Transport } from './transport.ts'

function setUp() {
  const clock = new ManualClock()
  const asked: string[] = []
  const state = {
    resources: [{ name: 'things', kind: 'Thing', namespaced: true }] as unknown[],
    error: undefined as Error | undefined,
  }
  const request = (query: ApiRequest) => {
    asked.push(query.path)
    if (state.error) return Promise.reject(state.error)
    return Promise.resolve({ status: 200, body: { kind: 'APIResourceList', resources: state.resources }, warnings: [] })
  }
  const transport: Transport = {
    request,
    stream: () => Promise.reject(new Error('unused')),
    stop: () => Promise.resolve(),
  }
  return { clock, asked, state, discovery: createDiscovery(transport, clock) }
}

const thing = { basePath: '', apiVersion: 'test.dev/v1', kind: 'Thing' }

describe('discovery', () => {
  test('asks once for all who ask, and keeps the answer', async () => {
    const { asked, discovery } = setUp()
    const [first] = await Promise.all([discovery.find(thing), discovery.find(thing), discovery.find(thing)])
    await discovery.find(thing)
    expect(first).toEqual({ apiVersion: 'test.dev/v1', kind: 'Thing', resource: 'things', namespaced: true })
    expect(asked).toEqual(['/apis/test.dev/v1'])
  })

  test('asks again after ten minutes, and after being told to forget', async () => {
    const { clock, asked, discovery } = setUp()
    await discovery.find(thing)
    await clock.advance(600_001)
    await discovery.find(thing)
    discovery.forget('', 'test.dev/v1')
    await discovery.find(thing)
    expect(asked).toHaveLength(3)
  })

  test('a kind that comes later is found soon', async () => {
    const { clock, asked, state, discovery } = setUp()
    state.resources = []
    await expect(discovery.find(thing)).rejects.toThrow(UnknownKindError)
    await expect(discovery.find(thing)).rejects.toThrow('serves no Thing in test.dev/v1')
    expect(asked).toHaveLength(1)
    state.resources = [{ name: 'things', kind: 'Thing', namespaced: false }]
    await clock.advance(2_001)
    await expect(discovery.find(thing)).resolves.toMatchObject({ namespaced: false })
  })

  test('a group that the server does not have is an unknown kind', async () => {
    const { state, discovery } = setUp()
    state.error = new NotFoundError('404 page not found', { knowsKind: false })
    await expect(discovery.find(thing)).rejects.toThrow(UnknownKindError)
  })

  test('a failure is not kept', async () => {
    const { state, discovery } = setUp()
    state.error = new ClusterServerError('away')
    await expect(discovery.find(thing)).rejects.toThrow('away')
    state.error = undefined
    await rest()
    await expect(discovery.find(thing)).resolves.toBeDefined()
  })

  test('one who gives up does not take the answer from the others', async () => {
    const { discovery } = setUp()
    const abort = new AbortController()
    const impatient = discovery.find({ ...thing, signal: abort.signal })
    const patient = discovery.find(thing)
    abort.abort(new Error('enough'))
    await expect(impatient).rejects.toThrow('enough')
    await expect(patient).resolves.toBeDefined()
  })

  test('control planes are apart', async () => {
    const { asked, discovery } = setUp()
    await discovery.find(thing)
    await discovery.find({ ...thing, basePath: '/organizations/acme' })
    expect(asked).toEqual(['/apis/test.dev/v1', '/organizations/acme/apis/test.dev/v1'])
  })

  test('subresources and nonsense are no kinds', async () => {
    const { state, discovery } = setUp()
    state.resources = [null, 'x', { name: 'things/status', kind: 'Thing', namespaced: true }, { kind: 'Thing' }]
    await expect(discovery.find(thing)).rejects.toThrow(UnknownKindError)
  })
})

describe('paths', () => {
  const things = { apiVersion: 'test.dev/v1', kind: 'Thing', resource: 'things', namespaced: true }

  test('of collections, objects and subresources', () => {
    expect(resourcePath('', things, {})).toBe('/apis/test.dev/v1/things')
    expect(resourcePath('', things, { namespace: 'a', name: 'b' })).toBe('/apis/test.dev/v1/namespaces/a/things/b')
    expect(
      resourcePath('/base', { ...things, apiVersion: 'v1' }, { namespace: 'a', name: 'b', subresource: 'status' }),
    ).toBe('/base/api/v1/namespaces/a/things/b/status')
  })

  test.each(['', '.', '..', 'a/b'])('the name "%s" walks nowhere', (name) => {
    expect(() => resourcePath('', things, { namespace: 'a', name })).toThrow('is no name')
    expect(() => resourcePath('', things, { namespace: name, name: 'a' })).toThrow('is no name')
  })

  test('names are encoded', () => {
    expect(resourcePath('', things, { namespace: 'a', name: 'b?c#d' })).toContain('/b%3Fc%23d')
  })

  test.each(['', 'v1/../../x', 'a/b/v1', 'apps', 'Apps/v1', 'apps/v1?x'])(
    'the apiVersion "%s" is refused',
    (apiVersion) => {
      expect(() => groupVersionPath(apiVersion)).toThrow('is no apiVersion')
    },
  )
})
