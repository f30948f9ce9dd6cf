import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { type KubernetesWorker, startKubernetesWorker } from '../../test/helpers/kubernetes-worker.ts'
import { until } from '../../test/helpers/until.ts'
import { reached, readTask } from '../../test/helpers/worker.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { explainTasks, whyWaiting } from '../tasks/why-waiting.ts'

let core: Core
let simulated: SimulatedCluster
let worker: KubernetesWorker
beforeAll(async () => {
  core = await startCore()
  simulated = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 20 } })
  worker = await startKubernetesWorker(core, [
    { name: 'prod', tenant: 'acme', credentials: { server: 'http://127.0.0.1:1', token: 't' } },
    { name: 'prod', tenant: 'other', kubeconfig: simulated.kubeconfig() },
  ])
})
afterAll(async () => {
  await worker.stop()
  await simulated.stop()
  await core.stop()
})

let names = 0
const create = (tenant: string) =>
  worker.submit('project.create', { name: `p-${++names}`, organization: 'o', cluster: 'prod' }, { tenant })
const open = async () => {
  const { rows } = await core.database.pool.query<{ cluster: string }>(
    'select cluster from sluice.cluster_health where open_until is not null',
  )
  return rows.map(({ cluster }) => cluster)
}

describe('the circuit breaker of clusters that two tenants call by one name', () => {
  test('leaves the one that is away alone, and lets the other tenant’s tasks run', async () => {
    for (let i = 0; i < 6; i++) await create('acme')
    await until(async () => (await open()).length > 0)
    expect(await open()).toEqual(['acme/prod'])
    const held = await create('acme')
    const isHeld = async () => {
      const { rows } = await core.database.pool.query('select from sluice.holds where task_id = $1', [held])
      return rows.length > 0
    }
    await until(isHeld)
    const row = await readTask(core, held)
    const why = whyWaiting(row, (await explainTasks(core.database, 'acme', [row])).get(held))
    expect(why).toMatch(/^Cluster prod has not answered lately and is left alone until /)
    expect(await reached(core, await create('other'))).toMatchObject({ status: 'COMPLETED', attempt: 1 })
    expect(await open()).toEqual(['acme/prod'])
  })
})
