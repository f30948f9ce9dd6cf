import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startControlPlanes, type ControlPlanes } from '../../test/helpers/control-planes.ts'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { type KubernetesWorker, startKubernetesWorker } from '../../test/helpers/kubernetes-worker.ts'
import { until } from '../../test/helpers/until.ts'
import { reached } from '../../test/helpers/worker.ts'
import type { Cluster } from '../kubernetes/cluster.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'

const projectOf = (name: string) => ({
  apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
  kind: 'Project',
  name,
})
const configMapOf = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name })

describe('records: what happens to managed objects that no task of ours did', () => {
  let core: Core
  let simulated: SimulatedCluster
  let worker: KubernetesWorker
  let cluster: Cluster
  beforeAll(async () => {
    core = await startCore()
    simulated = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 20 } })
    worker = await startKubernetesWorker(core, [{ name: 'default', kubeconfig: simulated.kubeconfig() }])
    cluster = worker.clusters.get('default')
  })
  afterAll(async () => {
    await worker.stop()
    await simulated.stop()
    await core.stop()
  })

  const applied = async (name: string, data: Record<string, string> = { key: 'ours' }): Promise<void> => {
    const task = await reached(core, await worker.submit('resource.apply', { object: deployment(name, data) }))
    expect(task).toMatchObject({ status: 'COMPLETED', error: null })
  }
  const deployment = (name: string, annotations: Record<string, string>) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: 'default' },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name }, annotations }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    },
  })
  const changeBehindOurBack = (name: string) =>
    cluster.apply(deployment(name, { key: 'theirs' }), { fieldManager: 'somebody', force: true })
  const deploymentOf = (name: string) => ({ apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'default', name })
  const record = async (name: string) => (await worker.resources({ name }))[0]
  const drifts = async (name: string) => {
    const { rows } = await core.database.pool.query<{ drift: string }>(
      `select payload->>'drift' as drift from sluice.domain_events where type = 'resource.drifted' and payload->>'name' = $1 order by seq`,
      [name],
    )
    return rows.map(({ drift }) => drift)
  }

  test('its conditions are followed', async () => {
    await applied('followed')
    const isAvailable = ({ type, status }: Record<string, unknown>) => type === 'Available' && status === 'True'
    await until(async () => (await record('followed'))?.conditions.some(isAvailable) === true)
    expect(await record('followed')).toMatchObject({ state: 'present', drift: null })
  })

  test('a change of its spec is drift, told once; a new object of our own ends it', async () => {
    await applied('changed')
    await changeBehindOurBack('changed')
    await until(async () => (await record('changed'))?.drift === 'changed')
    expect(await drifts('changed')).toEqual(['changed'])
    expect((await worker.resources({ drift: 'any' })).map(({ name }) => name)).toContain('changed')
    expect((await worker.resources({ drift: 'deleted' })).map(({ name }) => name)).not.toContain('changed')
    await cluster.delete(deploymentOf('changed'))
    await until(async () => (await record('changed'))?.state === 'deleted')
    await applied('changed')
    expect(await record('changed')).toMatchObject({ state: 'present', drift: null })
  })

  test('a deletion is drift, and the record says that the object is gone', async () => {
    await applied('deleted')
    await cluster.delete(deploymentOf('deleted'))
    await until(async () => (await record('deleted'))?.state === 'deleted')
    expect(await record('deleted')).toMatchObject({ drift: 'deleted' })
    expect(await drifts('deleted')).toEqual(['deleted'])
  })

  test('what our own task does is none', async () => {
    await applied('ours')
    await applied('ours', { key: 'ours, changed' })
    const task = await worker.submit('resource.delete', {
      api_version: 'apps/v1',
      kind: 'Deployment',
      namespace: 'default',
      name: 'ours',
    })
    await reached(core, task)
    expect(await record('ours')).toMatchObject({ state: 'deleted', drift: null })
    expect(await drifts('ours')).toEqual([])
  })

  test('what was changed or deleted while no worker was there is noticed when one returns', async () => {
    await applied('changed-unseen')
    await applied('deleted-unseen')
    await applied('replaced-unseen')
    await worker.stopWorker()
    await changeBehindOurBack('changed-unseen')
    for (const name of ['deleted-unseen', 'replaced-unseen']) {
      await cluster.delete(deploymentOf(name))
      await until(async () => (await cluster.get(deploymentOf(name))) === undefined)
    }
    await cluster.create(deployment('replaced-unseen', { key: 'theirs' }))
    await worker.startWorker()
    await until(async () => (await record('changed-unseen'))?.drift === 'changed')
    await until(async () => (await record('deleted-unseen'))?.drift === 'deleted')
    await until(async () => (await record('replaced-unseen'))?.drift === 'deleted')
  })
})

describe('records: one name in several control planes of one server', () => {
  const token = 'one-token-for-all'
  const organization = (org: string) => `/apis/resourcemanager.miloapis.com/v1alpha1/organizations/${org}/control-plane`
  const projectPath = (project: string) =>
    `/apis/resourcemanager.miloapis.com/v1alpha1/projects/${project}/control-plane`

  let core: Core
  let simulated: SimulatedCluster[]
  let server: ControlPlanes
  let worker: KubernetesWorker
  let cluster: Cluster
  beforeAll(async () => {
    core = await startCore()
    const tokens = [{ token, user: 'admin' }]
    simulated = await Promise.all(
      [1, 2, 3].map(() => startSimulatedCluster({ tokens, controllers: { projectReadyAfterMs: 20 } })),
    )
    const [root = '', acme = '', zeta = ''] = simulated.map(({ url }) => url)
    server = await startControlPlanes({
      '': root,
      [organization('acme')]: acme,
      [organization('zeta')]: zeta,
      [projectPath('one')]: acme,
      [projectPath('two')]: zeta,
    })
    worker = await startKubernetesWorker(core, [
      {
        name: 'milo',
        credentials: { server: server.url, token },
        basePath: [organization('{org}'), projectPath('{project}')],
      },
    ])
    cluster = worker.clusters.get('milo')
  })
  afterAll(async () => {
    await worker.stop()
    await server.stop()
    await Promise.all(simulated.map((each) => each.stop()))
    await core.stop()
  })

  const create = (org: string, name = 'shared-name') =>
    worker.submit('project.create', { name, organization: org, cluster: 'milo' })
  const basePathsOf = async (name: string) =>
    (await worker.resources({ name })).map(({ base_path, state, drift }) => [base_path, state, drift])

  test('two tasks at once make one each, with a record of its own', async () => {
    const tasks = await Promise.all([create('acme'), create('zeta')])
    for (const task of tasks) expect(await reached(core, task)).toMatchObject({ status: 'COMPLETED' })
    const uids = await Promise.all(
      ['acme', 'zeta'].map(
        async (org) => (await cluster.get(projectOf('shared-name'), { basePath: organization(org) }))?.metadata.uid,
      ),
    )
    const records = await worker.resources({ name: 'shared-name' })
    expect(records.map(({ base_path, uid }) => [base_path, uid])).toEqual([
      [organization('acme'), uids[0]],
      [organization('zeta'), uids[1]],
    ])
    expect(await worker.resources({ name: 'shared-name', base_path: organization('zeta') })).toHaveLength(1)
    expect(await cluster.get(projectOf('shared-name'))).toBeUndefined()
  })

  test('what happens to one is told of that one only', async () => {
    await cluster.delete(projectOf('shared-name'), { basePath: organization('acme') })
    await until(async () => (await basePathsOf('shared-name'))[0]?.[1] === 'deleted')
    expect(await basePathsOf('shared-name')).toEqual([
      [organization('acme'), 'deleted', 'deleted'],
      [organization('zeta'), 'present', null],
    ])
  })

  test('two tasks on one object of one control plane are in each other’s way, by whatever operation', async () => {
    const letGo = simulated[1]?.faults.controller({ mode: 'stall', kind: 'Project', name: 'contended' })
    const first = await create('acme', 'contended')
    const remove = (organization: string) =>
      worker.submit('project.delete', { name: 'contended', organization, cluster: 'milo' })
    await expect(remove('acme')).rejects.toThrow('conflict')
    expect(await reached(core, await remove('zeta'))).toMatchObject({ result: { already_gone: true } })
    letGo?.()
    expect(await reached(core, first)).toMatchObject({ status: 'COMPLETED' })
  })

  test('a request that does not say which control plane is refused, not sent to the server itself', async () => {
    const task = await reached(core, await worker.submit('project.delete', { name: 'shared-name', cluster: 'milo' }))
    expect(task).toMatchObject({ status: 'FAILED', error: { code: 'base_path_missing' } })
    expect(await basePathsOf('shared-name')).toContainEqual([organization('zeta'), 'present', null])
  })

  test('zones of two projects, and any kind with its base path in the request', async () => {
    const zone = { name: 'zone', domain_name: 'zone.example', dns_zone_class_name: 'default', cluster: 'milo' }
    const configMap = (org: string) => ({
      object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'any', namespace: 'default' } },
      readiness: { ready: 'true', freshness: 'ignore' },
      base_path: { org },
      cluster: 'milo',
    })
    const tasks = await Promise.all([
      worker.submit('dns-zone.create', { ...zone, project: 'one' }),
      worker.submit('dns-zone.create', { ...zone, project: 'two' }),
      worker.submit('resource.apply', configMap('acme')),
      worker.submit('resource.apply', configMap('zeta')),
    ])
    for (const task of tasks) expect(await reached(core, task)).toMatchObject({ status: 'COMPLETED', error: null })
    expect((await basePathsOf('zone')).map(([path]) => path)).toEqual([projectPath('one'), projectPath('two')])
    expect((await basePathsOf('any')).map(([path]) => path)).toEqual([organization('acme'), organization('zeta')])
    const remove = { api_version: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'any', cluster: 'milo' }
    const gone = await worker.submit('resource.delete', { ...remove, base_path: { org: 'acme' } })
    expect(await reached(core, gone)).toMatchObject({ result: { already_gone: false } })
    expect(await cluster.get(configMapOf('any'), { basePath: organization('acme') })).toBeUndefined()
    expect(await cluster.get(configMapOf('any'), { basePath: organization('zeta') })).toBeDefined()
  })
})
