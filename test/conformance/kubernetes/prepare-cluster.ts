import { randomBytes } from 'node:crypto'
import { at, ApiClient, nameOf } from './api-client.ts'
import { ConformanceCluster, expectStatus, versionOf } from './conformance-case.ts'
import { widgetDefinition } from './widget-definition.ts'

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'

/** A namespace and a kind for one run; `cleanUp` takes both away again. */
export async function prepareCluster(
  kubeconfig: string,
  context?: string,
): Promise<{ readonly cluster: ConformanceCluster; readonly cleanUp: () => Promise<void> }> {
  const api = new ApiClient(kubeconfig, context)
  const namespace = `sluice-conformance-${randomBytes(3).toString('hex')}`
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  expectStatus(await api.call('POST', '/api/v1/namespaces', { body }), 201)
  const posted = await api.call('POST', definitions, { body: widgetDefinition })
  if (posted.status !== 409) expectStatus(posted, 201)
  await untilEstablished(api)
  return {
    cluster: new ConformanceCluster(api, namespace),
    async cleanUp() {
      await api.call('DELETE', `/api/v1/namespaces/${namespace}`)
      await api.call('DELETE', `${definitions}/${nameOf(widgetDefinition)}`)
    },
  }
}

async function untilEstablished(api: ApiClient): Promise<void> {
  const selector = { fieldSelector: `metadata.name=${nameOf(widgetDefinition)}` }
  const { body } = expectStatus(await api.call('GET', definitions, { query: selector }), 200)
  const established = (object: Parameters<typeof at>[0]): boolean => {
    const conditions = at(object, 'status', 'conditions')
    return (
      Array.isArray(conditions) &&
      conditions.some((known) => at(known, 'type') === 'Established' && at(known, 'status') === 'True')
    )
  }
  if (established(at(body, 'items', 0))) return
  const watch = await api.watch(definitions, { ...selector, resourceVersion: versionOf(body) })
  await watch.find(({ object }) => established(object), 30_000)
  watch.close()
}
