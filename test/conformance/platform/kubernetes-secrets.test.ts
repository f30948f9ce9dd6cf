import { createKubernetesSecrets } from '../../../src/platform/adapters/kubernetes-secrets/kubernetes-secrets.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { startSimulatedCluster } from '../../../src/kubernetes/simulated/simulated-cluster.ts'
import { conformanceSecrets, secretsConformance } from '../../../src/testing/platform-conformance.ts'
import { describeSuite } from './support/describe-suite.ts'

describeSuite('secrets: kubernetes', secretsConformance, async () => {
  const cluster = await startSimulatedCluster({ controllers: { enabled: false } })
  const namespace = 'conformance'
  const call = async (method: string, path: string, body?: object) => {
    const response = await fetch(`${cluster.url}/api/v1/namespaces${path}`, {
      method,
      headers: { authorization: `Bearer ${cluster.token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    })
    if (!response.ok && response.status !== 404) throw new Error(`${method} ${path}: ${await response.text()}`)
    return response
  }
  await call('POST', '', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })

  const objects = new Map<string, Map<string, string>>()
  const change = async (name: string, value: string | undefined) => {
    const [object = '', key = 'value'] = name.split('/')
    const data = objects.get(object) ?? new Map<string, string>()
    const isNew = !objects.has(object)
    if (value === undefined) data.delete(key)
    else data.set(key, Buffer.from(value).toString('base64'))
    if (data.size > 0) objects.set(object, data)
    else objects.delete(object)
    const path = `/${namespace}/secrets`
    const body = { apiVersion: 'v1', kind: 'Secret', metadata: { name: object }, data: Object.fromEntries(data) }
    if (data.size === 0) await call('DELETE', `${path}/${object}`)
    else if (isNew) await call('POST', path, body)
    else await call('PUT', `${path}/${object}`, body)
  }
  for (const [name, value] of Object.entries(conformanceSecrets)) await change(name, value)

  const kubeconfig = cluster.kubeconfig()
  const secrets = createKubernetesSecrets({ namespace, kubeconfig, logger: createMemoryLogger() })
  await secrets.start()
  const stop = async () => {
    await secrets.stop()
    await cluster.stop()
  }
  return { subject: { secrets, change }, stop }
})
