import { KubeConfig, Watch, type KubernetesObject } from '@kubernetes/client-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startSimulatedCluster, type SimulatedCluster } from '../../../src/kubernetes/simulated/simulated-cluster.ts'
import { ApiClient } from './api-client.ts'

/** A busy machine takes its time. */
const patiently = { timeout: 20_000 }

let cluster: SimulatedCluster

beforeAll(async () => {
  cluster = await startSimulatedCluster()
})

afterAll(async () => {
  await cluster.stop()
})

test("the Kubernetes client's watch works on the simulated cluster", async () => {
  const config = new KubeConfig()
  config.loadFromString(cluster.kubeconfig())
  const path = '/api/v1/namespaces/default/configmaps'
  const seen: string[] = []
  const record = (phase: string, object: KubernetesObject): void => {
    seen.push(`${phase} ${object.metadata?.name ?? ''}`)
  }
  const controller = await new Watch(config).watch(path, {}, record, () => undefined)
  try {
    const api = new ApiClient(cluster.kubeconfig())
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'seen' } }
    expect((await api.call('POST', path, { body })).status).toBe(201)
    expect((await api.call('DELETE', `${path}/seen`)).status).toBe(200)
    await expect.poll(() => seen, patiently).toEqual(['ADDED seen', 'DELETED seen'])
  } finally {
    controller.abort()
  }
})
