import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isTerminal } from '../../src/contract/task-status.ts'
import { type ClusterConfig, connectClusters } from '../../src/kubernetes/clusters.ts'
import { connectCluster, type Cluster } from '../../src/kubernetes/cluster.ts'
import { createScaledClock } from '../../src/kubernetes/scaled-clock.ts'
import {
  createFaultScript,
  runFaultScript,
  type SimulatedCluster,
  startSimulatedCluster,
} from '../../src/kubernetes/simulated/simulated-cluster.ts'
import type { FaultName } from '../../src/kubernetes/simulated/fault-script.ts'
import { createWatchHub } from '../../src/kubernetes/watch-hub.ts'
import { type Core, startCore } from '../helpers/core.ts'
import { type KubernetesWorker, startKubernetesWorker } from '../helpers/kubernetes-worker.ts'
import { reached, readTask } from '../helpers/worker.ts'

// `npm test` plays a few; SLUICE_FAULT_ROUNDS plays as many as one has time for, here up to a thousand.
const rounds = Math.min(1_000, Number(process.env['SLUICE_FAULT_ROUNDS'] ?? 50))
const thorough = rounds >= 1_000
const together = thorough ? 100 : 25
/** How much faster than time the watches' own clock runs: their half minute would make most of every round. */
const scale = thorough ? 1 : 20
const everyFault: readonly FaultName[] = [
  'cut',
  'halfOpen',
  'gone410',
  'tooManyRequests',
  'error500',
  'malformedJson',
  'slow',
  'restart',
  'futureResourceVersion',
]
// A history that was set back makes a state look old for a minute.
const faults = thorough ? everyFault : everyFault.filter((fault) => fault !== 'futureResourceVersion')

const projectApi = 'resourcemanager.miloapis.com/v1alpha1'

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

/** A worker whose watches live by the scaled clock, on these clusters. */
function startWorker(configs: readonly ClusterConfig[]): Promise<KubernetesWorker> {
  const clusters = connectClusters(configs)
  const hub = createWatchHub({ cluster: clusters.get, clock: createScaledClock(scale), lingerMs: 0 })
  return startKubernetesWorker(core, configs, { hub }).then((worker) => ({
    ...worker,
    stop: async () => {
      await worker.stop()
      await hub.stop()
      await clusters.stop()
    },
  }))
}

interface Round {
  readonly seed: number
  readonly simulated: SimulatedCluster
  readonly cluster: Cluster
}

async function prepare(seed: number): Promise<Round> {
  const simulated = await startSimulatedCluster({
    seed,
    controllers: { projectReadyAfterMs: 200, projectReadySpreadMs: 1_000, virtualMachineStartAfterMs: 600 },
  })
  return { seed, simulated, cluster: connectCluster({ name: `s-${seed}`, kubeconfig: simulated.kubeconfig() }) }
}

const input = (seed: number, name: string) => ({ name, organization: 'acme', cluster: `s-${seed}` })

async function play(worker: KubernetesWorker, { seed, simulated, cluster }: Round): Promise<void> {
  const script = runFaultScript(simulated.faults, createFaultScript(seed, { durationMs: 1_500, steps: 8, faults }))
  const machine = { name: 'vm', namespace: 'default', cpu: 1, memory: '1Gi', image: 'i', cluster: `s-${seed}` }
  const tasks = {
    ready: await worker.submit('project.create', input(seed, 'ready')),
    fails: await worker.submit('project.create', input(seed, 'fails-always')),
    vm: await worker.submit('vm.create', machine),
  }
  await script
  simulated.faults.clear()
  const ended = async (task: string) => {
    const { status, error, result } = await reached(core, task, { timeoutMs: 200_000 })
    return { status, code: error?.['code'], uid: result?.['uid'] }
  }
  const where = `seed ${seed}`
  const [ready, fails, vm] = [await ended(tasks.ready), await ended(tasks.fails), await ended(tasks.vm)]
  expect(ready, where).toMatchObject({ status: 'COMPLETED' })
  expect(fails, where).toMatchObject({ status: 'FAILED', code: 'resource_failed' })
  expect(vm, where).toMatchObject({ status: 'COMPLETED' })
  // One object each, the one that the task tells of, made once.
  const projects = await cluster.list({ apiVersion: projectApi, kind: 'Project' })
  expect(projects.items.map(({ metadata }) => metadata.name).toSorted(), where).toEqual(['fails-always', 'ready'])
  expect(projects.items.find(({ metadata }) => metadata.name === 'ready')?.metadata.uid, where).toBe(ready.uid)
  const machines = await cluster.list({ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine' })
  expect(
    machines.items.map(({ metadata }) => metadata.uid),
    where,
  ).toEqual([vm.uid])
}

describe(`tasks on clusters that misbehave, ${rounds} seeded scripts`, () => {
  test('every task ends as its object did, once, and no wait is left', { timeout: 7_200_000 }, async () => {
    for (let first = 1; first <= rounds; first += together) {
      const seeds = Array.from({ length: Math.min(together, rounds - first + 1) }, (_, i) => first + i)
      const group = await Promise.all(seeds.map(prepare))
      const worker = await startWorker(
        group.map(({ seed, simulated }) => ({ name: `s-${seed}`, kubeconfig: simulated.kubeconfig() })),
      )
      try {
        await Promise.all(group.map((round) => play(worker, round)))
        const { rows } = await core.database.pool.query('select from sluice.waits')
        expect(rows).toEqual([])
      } finally {
        await worker.stop()
        await Promise.all(group.map(({ cluster }) => cluster.stop()))
        await Promise.all(group.map(({ simulated }) => simulated.stop()))
      }
    }
  })
})

describe('from ready to recorded', () => {
  let simulated: SimulatedCluster
  let cluster: Cluster
  let worker: KubernetesWorker
  beforeAll(async () => {
    simulated = await startSimulatedCluster()
    cluster = connectCluster({ name: 's-0', kubeconfig: simulated.kubeconfig() })
    worker = await startWorker([{ name: 's-0', kubeconfig: simulated.kubeconfig() }])
  })
  afterAll(async () => {
    await worker.stop()
    await cluster.stop()
    await simulated.stop()
  })

  /** Milliseconds between each object's turning ready and its task's end, sorted. */
  async function lags(prefix: string, count: number, before: () => void): Promise<number[]> {
    const names = Array.from({ length: count }, (_, i) => `stalls-${prefix}-${i}`)
    const tasks = await Promise.all(names.map((name) => worker.submit('project.create', input(0, name))))
    for (const task of tasks) await reached(core, task, { statuses: ['WAITING'] })
    before()
    const measured = names.map(async (name, i) => {
      await new Promise((resolve) => setTimeout(resolve, i * 50))
      const at = new Date()
      const condition = {
        type: 'Ready',
        status: 'True',
        reason: 'Ready',
        message: '',
        lastTransitionTime: at.toISOString(),
      }
      await cluster.request({
        method: 'PATCH',
        path: `/apis/${projectApi}/projects/${name}/status`,
        contentType: 'application/merge-patch+json',
        body: { status: { conditions: [condition] } },
      })
      const task = tasks[i] ?? ''
      await reached(core, task, { timeoutMs: 120_000 })
      const { status, completed_at } = await readTask(core, task)
      if (!isTerminal(status) || !completed_at) throw new Error('the task has not ended')
      // One machine, one clock: the database's is ours.
      return Math.max(0, completed_at.getTime() - at.getTime())
    })
    return (await Promise.all(measured)).toSorted((a, b) => a - b)
  }
  const p95 = (sorted: readonly number[]): number => sorted[Math.ceil(sorted.length * 0.95) - 1] ?? Number.NaN

  // A machine that others use at the same moment may miss it once.
  test('takes a second at most, for 95 of 100', { timeout: 120_000, retry: 2 }, async ({ task }) => {
    const prefix = `healthy-${task.result?.retryCount ?? 0}`
    expect(p95(await lags(prefix, 60, () => undefined))).toBeLessThanOrEqual(1_000)
  })

  test('takes a minute at most while the watch is half-open', { timeout: 240_000 }, async () => {
    const sorted = await lags('half-open', 20, () => void simulated.faults.halfOpen())
    expect(p95(sorted)).toBeLessThanOrEqual(60_000 / scale + (scale === 1 ? 0 : 2_000))
  })
})
