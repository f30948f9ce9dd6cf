import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { type KubernetesWorker, startKubernetesWorker } from '../../test/helpers/kubernetes-worker.ts'
import { until } from '../../test/helpers/until.ts'
import { eventTypesOf, reached, readTask } from '../../test/helpers/worker.ts'
import { toWireId } from '../contract/ids.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { builtInOperations } from '../operations/registry.ts'
import { cancelMany } from '../tasks/act-on-many.ts'
import { acceptBatch, findBatch } from '../tasks/batch.ts'
import { cancelTask } from '../tasks/cancel-task.ts'

let core: Core
let simulated: SimulatedCluster
let worker: KubernetesWorker
beforeAll(async () => {
  core = await startCore()
  simulated = await startSimulatedCluster({ controllers: { projectReadyAfterMs: 20 } })
  worker = await startKubernetesWorker(core, [{ name: 'default', kubeconfig: simulated.kubeconfig() }])
})
afterEach(() => simulated.faults.clear())
afterAll(async () => {
  await worker.stop()
  await simulated.stop()
  await core.stop()
})

const projects = builtInOperations.find(({ type }) => type === 'project.create')
const project = (name: string) => ({
  apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
  kind: 'Project',
  name,
})

/** A project that does not become ready until the test says so. */
const stall = (name: string) => simulated.faults.controller({ mode: 'stall', kind: 'Project', name })
const cancel = (taskId: string) => cancelTask(core, { tenant: 'default', taskId, actor: 'rita' })
const looseEnds = async (taskId: string) => {
  const { rows } = await core.database.pool.query(
    `select 'wait' as what from sluice.waits where task_id = $1 union all
     select name || ' ' || state from pgboss.job where state not in ('completed', 'cancelled') and (id = $1
       or data->>'eventId' in (select event_id::text from sluice.domain_events where task_id = $1))`,
    [taskId],
  )
  return rows
}

describe('cancel of a task that waits', () => {
  test('detaches at once, says that the cluster goes on, and the cluster does', async () => {
    stall('goes-on')
    const taskId = await worker.submit('project.create', { name: 'goes-on', organization: 'acme' })
    await reached(core, taskId, { statuses: ['WAITING'] })
    const asked = Date.now()
    expect(await cancel(taskId)).toMatchObject({
      kind: 'requested',
      message: 'Cancelling. Project goes-on was already asked for in cluster default, which goes on with it.',
    })
    // Idempotent: it asks once, whoever asks how often.
    expect(await cancel(taskId)).toMatchObject({ kind: expect.stringMatching(/requested|cancelled/) })
    const task = await reached(core, taskId)
    expect(task).toMatchObject({
      status: 'CANCELLED',
      attempt: 1,
      error: {
        code: 'cancelled',
        detail:
          'Cancelled by rita while waiting for Project goes-on. The change was made and goes on in cluster default.',
      },
    })
    expect(Number(task.completed_at) - asked).toBeLessThan(2_000)
    expect(await cancel(taskId)).toMatchObject({ kind: 'cancelled' })
    const { rows } = await core.database.pool.query(
      `select type, actor from sluice.domain_events where task_id = $1 and type = 'task.cancel_requested'`,
      [taskId],
    )
    expect(rows).toEqual([{ type: 'task.cancel_requested', actor: 'rita' }])
    expect(await eventTypesOf(core, taskId)).toEqual([
      'requested',
      'started',
      'waiting',
      'cancel_requested',
      'cancelled',
    ])
    await until(async () => (await looseEnds(taskId)).length === 0)
    simulated.faults.clear()
    const cluster = worker.clusters.get('default')
    const ready = async () =>
      JSON.stringify(await cluster.get(project('goes-on'))).includes('"type":"Ready","status":"True"')
    await until(ready)
    expect(await readTask(core, taskId)).toEqual(task)
  })

  test('of a batch: what waits detaches, what is queued ends, what has ended stays', async () => {
    if (!projects) throw new Error('there is no project.create')
    for (const name of ['b-waits', 'b-waits-too']) stall(name)
    const names = ['b-done', 'b-waits', 'b-waits-too', 'b-queued']
    const items = names.map((name) => ({
      operation: projects,
      input: { name, organization: 'acme', cluster: 'default' },
      options: name === 'b-queued' ? { start_at: new Date(Date.now() + 3_600_000).toISOString() } : {},
      tenant: 'default',
      actor: 'rita',
    }))
    const batch = await acceptBatch(core, { items, tenant: 'default', actor: 'rita', onError: 'continue' })
    const counts = async () => (await findBatch(core.database, 'default', batch.batch_id))?.counts
    await until(async () => {
      const { WAITING, COMPLETED } = (await counts()) ?? {}
      return WAITING === 2 && COMPLETED === 1
    })
    const filter = { batch_id: toWireId('batch', batch.batch_id) }
    expect(await cancelMany(core, { tenant: 'default', actor: 'rita', filter })).toMatchObject({ matched: 3, done: 3 })
    await until(async () => (await counts())?.CANCELLED === 3)
    expect(await counts()).toMatchObject({ COMPLETED: 1, CANCELLED: 3, WAITING: 0, SCHEDULED: 0 })
  })
})
