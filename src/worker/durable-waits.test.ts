import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { type KubernetesWorker, startKubernetesWorker } from '../../test/helpers/kubernetes-worker.ts'
import { until } from '../../test/helpers/until.ts'
import { eventTypesOf, reached, readTask } from '../../test/helpers/worker.ts'
import type { Cluster } from '../kubernetes/cluster.ts'
import { type SimulatedCluster, startSimulatedCluster } from '../kubernetes/simulated/simulated-cluster.ts'
import { whyWaiting } from '../tasks/why-waiting.ts'
import type { WorkerOptions } from './worker.ts'

let core: Core
let simulated: SimulatedCluster
let worker: KubernetesWorker
let cluster: Cluster
const start = async (options: Partial<WorkerOptions> = {}) => {
  worker = await startKubernetesWorker(core, [{ name: 'default', kubeconfig: simulated.kubeconfig() }], options)
  cluster = worker.clusters.get('default')
}
beforeAll(async () => {
  core = await startCore()
  simulated = await startSimulatedCluster({
    controllers: { projectReadyAfterMs: 20, podReadyAfterMs: 20, virtualMachineStartAfterMs: 20, jobDurationMs: 20 },
  })
})
afterEach(async () => {
  simulated.faults.clear()
  await worker.stop()
})
afterAll(async () => {
  await simulated.stop()
  await core.stop()
})

const template = (name: string, image: string) => ({
  metadata: { labels: { app: name } },
  spec: { containers: [{ name: 'main', image }], restartPolicy: 'Never' },
})
const deployment = (name: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'default' },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: name } },
    template: {
      ...template(name, `registry.example/${name}:1`),
      spec: { containers: [{ name: 'main', image: name }] },
    },
  },
})
const machine = (name: string) => ({
  name,
  namespace: 'default',
  cpu: 1,
  memory: '1Gi',
  image: 'registry.example/nope:1',
})
const detailOf = async (taskId: string): Promise<unknown> => (await reached(core, taskId)).error?.['detail']

describe('a durable wait that fails or times out says why', () => {
  test('of a Deployment: its Pods by owner, and their warning events; nobody else’s', async () => {
    await start()
    // Its Pod has the labels, and belongs to nobody.
    const stray = { ...template('fails-to-pull', 'stray-image'), apiVersion: 'v1', kind: 'Pod' }
    const metadata = { name: 'fails-stray', namespace: 'default', labels: { app: 'fails-to-pull' } }
    await cluster.create({ ...stray, metadata })
    const task = await worker.submit('resource.apply', { object: deployment('fails-to-pull') }, { timeoutMs: 2_500 })
    expect(await reached(core, task)).toMatchObject({ status: 'TIMED_OUT', error: { code: 'timed_out' } })
    const detail = await detailOf(task)
    expect(detail).toMatch(/^Deployment fails-to-pull was not ready at the deadline \(last: /)
    expect(detail).toMatch(/\)\. Seen: .*Pod default\/fails-to-pull-\S+: ImagePullBackOff \(Back-off pulling image/)
    expect(detail).toMatch(/Pod default\/fails-to-pull-\S+: Failed \(Failed to pull image/)
    expect(detail).toMatch(/What was asked of the cluster goes on there\.$/)
    expect(detail).not.toContain('stray')
  })

  test('of a Job that fails: at once, with the Pods that ended', async () => {
    await start()
    const object = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'fails-job', namespace: 'default' },
      spec: { backoffLimit: 0, template: template('fails-job', 'job-image') },
    }
    const task = await worker.submit('resource.apply', { object })
    expect(await reached(core, task)).toMatchObject({ status: 'FAILED', error: { code: 'resource_failed' } })
    expect(await detailOf(task)).toMatch(
      /^Job fails-job failed: BackoffLimitExceeded .*Seen: Pod default\/fails-job-\S+: container main ended \(Error, exit code 1\)/,
    )
  })

  test.each([
    [
      'fails-image-vm',
      /Seen: Pod default\/virt-launcher-fails-image-vm-\S+: ImagePullBackOff .*registry\.example\/nope:1/,
    ],
    ['fails-scheduling-vm', /Seen: Pod default\/virt-launcher-\S+: Unschedulable \(.*Insufficient memory/],
    ['fails-pvc-vm', /FailedScheduling \(0\/1 nodes are available: persistentvolumeclaim not found/],
  ])('of a machine %s: the Pod that was to run it', async (name, why) => {
    await start()
    const task = await worker.submit('vm.create', machine(name), { timeoutMs: 2_000 })
    expect(await reached(core, task)).toMatchObject({ status: 'TIMED_OUT' })
    expect(await detailOf(task)).toMatch(why)
  })

  test('is as quick where the cluster may not be asked for more', async () => {
    await start({ diagnose: () => Promise.reject(new Error('forbidden')) })
    const task = await worker.submit('vm.create', machine('fails-image-quiet'), { timeoutMs: 1_000 })
    expect(await detailOf(task)).toMatch(
      /^VirtualMachine fails-image-quiet was not ready at the deadline \(last: .*\)\. What/,
    )
  })
})

describe('a durable wait that takes long', () => {
  test('says why while it waits, with its Pods, and once for each reason, however many workers watch', async () => {
    await start({ explainAfterMs: 300 })
    const other = await startKubernetesWorker(core, [{ name: 'default', kubeconfig: simulated.kubeconfig() }], {
      explainAfterMs: 300,
    })
    const task = await worker.submit('resource.apply', { object: deployment('fails-slowly') })
    await until(async () => /Seen: .*ImagePullBackOff/.test(whyWaiting(await readTask(core, task)) ?? ''))
    const why = whyWaiting(await readTask(core, task))
    expect(why).toMatch(
      /^Waiting for Deployment fails-slowly to be ready, until \S+Z\. \w+: .* Seen: Pod default\/fails-s/,
    )
    const told = async () => {
      const { rows } = await core.database.pool.query<{ reason: string }>(
        `select payload->>'reason' as reason from sluice.domain_events where task_id = $1 and type = 'task.progress'`,
        [task],
      )
      return rows.map(({ reason }) => reason)
    }
    const before = await told()
    // Both have looked again since.
    const looks = simulated.requestCount
    await until(() => simulated.requestCount > looks + 6)
    expect((await told()).length - before.length).toBeLessThanOrEqual(1)
    expect(new Set(before).size).toBe(before.length)
    await other.stop()
    await cluster.delete({ apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'default', name: 'fails-slowly' })
    expect(await reached(core, task)).toMatchObject({ status: 'FAILED', error: { code: 'resource_gone' } })
  })

  test('says at its deadline what was known before the cluster went away', async () => {
    await start({ explainAfterMs: 100 })
    const task = await worker.submit('vm.create', machine('fails-image-lost'), { timeoutMs: 4_000 })
    await until(async () => /Seen: Pod/.test(whyWaiting(await readTask(core, task)) ?? ''))
    simulated.faults.restart({ downMs: 10_000 })
    expect(await reached(core, task)).toMatchObject({ status: 'TIMED_OUT' })
    expect(await detailOf(task)).toMatch(
      /its cluster could not be read \(.*\); before that \w+: .*Seen: Pod default\/virt-launcher-fails-image-lost/,
    )
  })

  test('and ends well says nothing', async () => {
    await start({ explainAfterMs: 10_000 })
    await until(async () => (await cluster.version().catch(() => '')) !== '')
    const task = await worker.submit('project.create', { name: 'quick', organization: 'acme' })
    expect(await reached(core, task)).toMatchObject({ status: 'COMPLETED' })
    expect(await eventTypesOf(core, task)).toEqual(['requested', 'started', 'waiting', 'completed'])
  })
})
