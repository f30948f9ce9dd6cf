import { describe, expect, test } from 'vitest'
import { connectClusters } from './clusters.ts'
import { ClusterConfigurationError, ClusterRemovedError } from './cluster-errors.ts'

const credentials = { server: 'http://127.0.0.1:1', token: 't' }

describe('clusters', () => {
  test('one for all, by its name', () => {
    const clusters = connectClusters([{ name: 'default', credentials, simulated: true }])
    expect(clusters.get('default')).toMatchObject({ name: 'default', simulated: true })
    expect(clusters.has('other')).toBe(false)
    expect(() => clusters.get('other')).toThrow('There is no cluster "other". Configured: default.')
    expect(() => connectClusters([]).get('default')).toThrow('Configured: none.')
  })

  test("a tenant's own comes before one for all, and nobody else sees it", () => {
    const clusters = connectClusters([
      { name: 'default', credentials },
      { name: 'default', tenant: 'acme', credentials },
      { name: 'prod', tenant: 'acme', credentials },
    ])
    expect(clusters.keyFor('acme', 'default')).toBe('acme/default')
    expect(clusters.keyFor('acme', 'prod')).toBe('acme/prod')
    expect(clusters.keyFor('other', 'default')).toBe('default')
    expect(clusters.namesFor('acme')).toEqual(['default', 'prod'])
    expect(clusters.namesFor('other')).toEqual(['default'])
    expect(['default', 'prod', 'acme/prod', ''].filter(clusters.isShared)).toEqual(['default'])
    for (const name of ['prod', 'acme/prod', 'acme/default', '']) {
      expect(() => clusters.keyFor('other', name)).toThrow(ClusterConfigurationError)
    }
  })

  test('may be added and given other credentials while running', async () => {
    const clusters = connectClusters([])
    await clusters.set({ name: 'prod', tenant: 'acme', credentials })
    const first = clusters.get('acme/prod')
    await clusters.set({ name: 'prod', tenant: 'acme', credentials: { ...credentials, token: 'rotated' } })
    expect(clusters.get('acme/prod')).not.toBe(first)
    await expect(first.version()).rejects.toThrow('was closed')
    await clusters.stop()
  })

  test('one that was retired says why, ends what is under way, and is no name any more', async () => {
    const clusters = connectClusters([{ name: 'shared', credentials }])
    const own = { name: 'prod', tenant: 'acme', credentials }
    await clusters.set(own)
    const first = clusters.get('acme/prod')
    await clusters.retire(own, () => new ClusterRemovedError('removed by alice'))
    await expect(first.version()).rejects.toThrow('was closed')
    expect(clusters.has('acme/prod')).toBe(false)
    expect(clusters.namesFor('acme')).toEqual(['shared'])
    expect(clusters.keyFor('acme', 'prod')).toBe('acme/prod')
    expect(() => clusters.get('acme/prod')).toThrow('removed by alice')
    expect(() => clusters.keyFor('other', 'prod')).toThrow('There is no cluster "prod"')
    // One for all of that name comes before it, and a new one of that name makes it forgotten.
    await clusters.set({ name: 'prod', credentials })
    expect(clusters.keyFor('acme', 'prod')).toBe('prod')
    await clusters.set(own)
    expect(clusters.get(clusters.keyFor('acme', 'prod')).name).toBe('prod')
    await clusters.stop()
  })

  test.each(['', 'a/b', 'Prod', '-a', 'a-', 'a b', 'x'.repeat(64)])('the name "%s" is refused', (name) => {
    expect(() => connectClusters([{ name, credentials }])).toThrow('is no name for a cluster')
  })
})
