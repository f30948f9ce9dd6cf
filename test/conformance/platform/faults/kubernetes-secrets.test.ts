import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type SimulatedCluster, startSimulatedCluster } from '../../../../src/kubernetes/simulated/simulated-cluster.ts'
import { createKubernetesSecrets } from '../../../../src/platform/adapters/kubernetes-secrets/kubernetes-secrets.ts'
import { createManualClock } from '../../../../src/platform/clock.ts'
import { createMemoryLogger } from '../../../../src/platform/memory/memory-logger.ts'
import { ServiceUnavailableError } from '../../../../src/platform/platform-error.ts'
import type { SecretChange } from '../../../../src/platform/secrets.ts'
import { until } from '../../../helpers/until.ts'

describe('kubernetes secrets, whose server goes away in mid-watch', () => {
  let cluster: SimulatedCluster
  beforeAll(async () => {
    cluster = await startSimulatedCluster({ controllers: { enabled: false } })
  })
  afterAll(() => cluster.stop())

  const write = async (method: 'POST' | 'PUT', name: string, value: string) => {
    const path = `/api/v1/namespaces/default/secrets${method === 'PUT' ? `/${name}` : ''}`
    const data = { value: Buffer.from(value).toString('base64') }
    const response = await fetch(`${cluster.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${cluster.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, data }),
    })
    expect(response.ok).toBe(true)
  }
  const open = async (options: Partial<Parameters<typeof createKubernetesSecrets>[0]> = {}) => {
    const kubeconfig = cluster.kubeconfig()
    const secrets = createKubernetesSecrets({
      namespace: 'default',
      kubeconfig,
      logger: createMemoryLogger(),
      ...options,
    })
    await secrets.start()
    return secrets
  }

  test('says so meanwhile, and the watch tells what changed when it is back', async () => {
    await write('POST', 'restarted', 'one')
    const secrets = await open()
    const seen: SecretChange[] = []
    const watch = await secrets.watch('restarted', (change) => seen.push(change))
    cluster.faults.restart({ downMs: 600_000 })
    await expect(secrets.get('restarted')).rejects.toThrow(ServiceUnavailableError)
    await expect(secrets.list()).rejects.toThrow(ServiceUnavailableError)
    cluster.faults.restart()
    await write('PUT', 'restarted', 'two')
    await until(() => seen.length === 2)
    expect(seen.map(({ value }) => value)).toEqual(['one', 'two'])
    expect(await secrets.get('restarted')).toBe('two')
    await watch.stop()
    await secrets.stop()
  })

  test('a watch whose connection is dead without a word is given up after 30 s', async () => {
    await write('POST', 'silent', 'one')
    const clock = createManualClock()
    const secrets = await open({ clock })
    const seen: SecretChange[] = []
    const watch = await secrets.watch('silent', (change) => seen.push(change))
    await until(() => cluster.faults.halfOpen({ resource: 'secrets' }) === 1)
    await write('PUT', 'silent', 'two')
    await clock.advance(29_000)
    expect(seen.map(({ value }) => value)).toEqual(['one'])
    await clock.advance(1_000)
    await until(() => seen.length === 2)
    expect(seen.map(({ value }) => value)).toEqual(['one', 'two'])
    await watch.stop()
    await secrets.stop()
  })
})
