/**
 * What waiting costs: many concurrent readiness waits in one worker with ten slots. All tasks are parked first; then
 * their objects turn ready evenly over a minute. Beside it, the same with a promise per wait that holds its slot.
 *
 *   node --expose-gc bench/waits.ts [--tasks 10000] [--seconds 60] [--baseline 100]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { createDatabase } from '../src/database/database.ts'
import { createSignalListener, createSignalSender } from '../src/database/signals.ts'
import { connectClusters } from '../src/kubernetes/clusters.ts'
import { projectReadiness } from '../src/kubernetes/readiness.ts'
import { waitForReady } from '../src/kubernetes/wait-for-ready.ts'
import { createWatchHub } from '../src/kubernetes/watch-hub.ts'
import { createFeed } from '../src/live/feed.ts'
import { completed, defineOperation, waitUntilReady } from '../src/operations/define-operation.ts'
import { createOperationRegistry } from '../src/operations/registry.ts'
import { createPgBossQueue } from '../src/queue/pg-boss-queue.ts'
import { createTaskAcceptor } from '../src/tasks/accept-task.ts'
import { createWorker } from '../src/worker/worker.ts'
import { openBenchDatabase, percentile } from './bench-database.ts'

const { values } = parseArgs({
  options: { tasks: { type: 'string' }, seconds: { type: 'string' }, baseline: { type: 'string' } },
})
const waitCount = Number(values.tasks ?? 10_000)
const seconds = Number(values.seconds ?? 60)
const baselineCount = Number(values.baseline ?? 100)

const child = fork(new URL('./simulated-cluster-process.ts', import.meta.url))
const [kubeconfig] = await once(child, 'message')
const clusters = connectClusters([{ name: 'default', kubeconfig: String(kubeconfig), simulated: true }])
const cluster = clusters.get('default')
const bench = await openBenchDatabase()
const silent = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => silent }
const database = createDatabase({ url: bench.url, poolMax: 20 })
const queue = createPgBossQueue({ database, supervise: true, onError: console.error })
const signals = createSignalSender(database.pool, console.error)
const listener = createSignalListener({ url: bench.url, onError: console.error })
const hub = createWatchHub({ cluster: clusters.get, logger: silent })
const feed = createFeed({ pool: database.pool, listener, logger: silent })

const apiVersion = 'resourcemanager.miloapis.com/v1alpha1'
const input = z.strictObject({ name: z.string() })
const refOf = (name: string) => ({ apiVersion, kind: 'Project', name })
const apply = (name: string) =>
  cluster.apply(
    { ...refOf(name), metadata: { name }, spec: { ownerRef: { kind: 'Organization', name: 'bench' } } },
    { fieldManager: 'bench' },
  )
const common = { title: 'A project', input, class: 'long' as const, timeoutMs: 3_600_000 }
const durable = defineOperation({
  ...common,
  type: 'bench.durable',
  class: 'short',
  perform: async (_context, { name }) => {
    const { metadata } = await apply(name)
    return waitUntilReady({ cluster: 'default', ref: refOf(name), uid: metadata.uid, rules: projectReadiness })
  },
  finish: () => ({}),
})
const holding = defineOperation({
  ...common,
  type: 'bench.holding',
  perform: async ({ signal }, { name }) => {
    const applied = await apply(name)
    await waitForReady({ hub, ref: refOf(name), applied, rules: projectReadiness, signal, timeoutMs: 3_600_000 })
    return completed({})
  },
})

const worker = createWorker({
  database,
  queue,
  signals,
  listener,
  operations: createOperationRegistry([durable, holding]),
  hub,
  logger: silent,
  workerId: 'bench',
  cluster: () => cluster,
  clusterKey: (_tenant, name) => name,
  diagnose: async () => undefined,
})
await listener.start()
await queue.start()
await feed.start()
await worker.start()
const acceptor = createTaskAcceptor({ database, queue, signals })

// When each task parked, and when it was recorded as completed, by this process's clock.
const nameOf = new Map<string, string>()
const recorded = new Map<string, number>()
let parked = 0
feed.subscribe({
  tenant: 'default',
  onEvent: ({ type, taskId }) => {
    if (type === 'task.waiting') parked++
    const name = taskId === null ? undefined : nameOf.get(taskId)
    if (type === 'task.completed' && name !== undefined) recorded.set(name, performance.now())
  },
  onError: console.error,
})

async function accept(operation: typeof durable, prefix: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `${prefix}-${i}`)
  await Promise.all(
    names.map(async (name) => {
      const { taskId } = await acceptor.accept({
        operation,
        input: { name },
        options: {},
        tenant: 'default',
        actor: 'bench',
      })
      nameOf.set(taskId, name)
    }),
  )
  return names
}

/** Turns the objects ready, evenly over `overMs`; returns when each was. */
async function turnReady(names: readonly string[], overMs: number): Promise<Map<string, number>> {
  const readyAt = new Map<string, number>()
  const begin = performance.now()
  const pending: Promise<void>[] = []
  for (const [i, name] of names.entries()) {
    const early = begin + (i / names.length) * overMs - performance.now()
    if (early > 1) await new Promise((resolve) => setTimeout(resolve, early))
    pending.push(markReady(name).then(() => void readyAt.set(name, performance.now())))
  }
  await Promise.all(pending)
  return readyAt
}

async function markReady(name: string): Promise<void> {
  const at = new Date().toISOString()
  for (;;) {
    try {
      await cluster.request({
        method: 'PATCH',
        path: `/apis/${apiVersion}/projects/${name}/status`,
        contentType: 'application/merge-patch+json',
        body: {
          status: {
            conditions: [{ type: 'Ready', status: 'True', reason: 'Ready', message: '', lastTransitionTime: at }],
          },
        },
      })
      return
    } catch (error) {
      // With held slots an object does not exist before its turn.
      if (!(error instanceof Error && 'code' in error && error.code === 'not_found')) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 50))
}

const megabytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(0)
const lags = (names: readonly string[], readyAt: ReadonlyMap<string, number>) =>
  names.map((name) => Math.max(0, (recorded.get(name) ?? Number.NaN) - (readyAt.get(name) ?? Number.NaN)))

// Warm: what the first wait loads is not what ten thousand cost.
const warm = await accept(durable, 'warm', 20)
await until(() => parked >= 20)
await turnReady(warm, 100)
await until(() => warm.every((name) => recorded.has(name)))
parked = 0
globalThis.gc?.()
const before = process.memoryUsage().rss

const parkBegin = performance.now()
const names = await accept(durable, 'wait', waitCount)
await until(() => parked >= waitCount)
const parkSeconds = (performance.now() - parkBegin) / 1000
await until(() => worker.waits.size >= waitCount)
globalThis.gc?.()
const waiting = process.memoryUsage().rss
const watches = hub.stats().upstreams
const readyAt = await turnReady(names, seconds * 1000)
await until(() => names.every((name) => recorded.has(name)))
const durableLags = lags(names, readyAt)

const heldBegin = performance.now()
const heldNames = await accept(holding, 'held', baselineCount)
const heldReady = await turnReady(heldNames, Math.min(seconds, 6) * 1000)
await until(() => heldNames.every((name) => recorded.has(name)))
const heldLags = lags(heldNames, heldReady)
const heldSeconds = (performance.now() - heldBegin) / 1000

console.log(`${waitCount} durable waits in one worker with 10 slots; objects ready over ${seconds} s\n`)
console.log('| | |\n|---|---|')
console.log(`| parked per second | ${(waitCount / parkSeconds).toFixed(0)} |`)
console.log(`| memory growth while all wait | ${megabytes(waiting - before)} MB (from ${megabytes(before)} MB) |`)
console.log(`| watches held open | ${watches} |`)
console.log(
  `| ready → recorded, p50 / p95 / p99 | ${[0.5, 0.95, 0.99].map((share) => `${percentile(durableLags, share).toFixed(0)} ms`).join(' / ')} |`,
)
console.log(`| tasks between their waiting and their end | ${waitCount} at once |`)
console.log(
  `\nBeside it, a promise per wait that holds its slot: ${baselineCount} waits took ${heldSeconds.toFixed(1)} s, 10 at once; ready → recorded p95 ${percentile(heldLags, 0.95).toFixed(0)} ms.`,
)

await worker.stop()
await feed.stop()
await hub.stop()
await clusters.stop()
await signals.stop()
await listener.stop()
await queue.stop()
await database.stop()
await bench.stop()
child.disconnect()
