/**
 * What waiting costs: many concurrent readiness waits in one worker with ten slots. All tasks are parked first; then
 * their objects turn ready evenly over a minute. Beside it, the same with a promise per wait that holds its slot.
 * The worker and the simulated cluster have processes of their own; this one asks, and looks at the feed.
 *
 *   node bench/waits.ts [--tasks 10000] [--seconds 60] [--baseline 100] [--semi-space 16]
 *
 * V8 lets its young generation grow with the memory of the machine, to more than a hundred megabytes of garbage where
 * there is much of it; `--semi-space` bounds that for the worker, as NODE_OPTIONS does for `sluice start`.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { createDatabase } from '../src/database/database.ts'
import { createSignalListener, createSignalSender } from '../src/database/signals.ts'
import { connectCluster } from '../src/kubernetes/cluster.ts'
import { createFeed } from '../src/live/feed.ts'
import { createPgBossQueue } from '../src/queue/pg-boss-queue.ts'
import { createTaskAcceptor } from '../src/tasks/accept-task.ts'
import { openBenchDatabase, percentile } from './bench-database.ts'
import { apiVersion, durable, holding } from './wait-operations.ts'
import type { Taken } from './waits-worker.ts'

const { values } = parseArgs({
  options: {
    tasks: { type: 'string' },
    seconds: { type: 'string' },
    baseline: { type: 'string' },
    'semi-space': { type: 'string', default: '16' },
  },
})
const waitCount = Number(values.tasks ?? 10_000)
const seconds = Number(values.seconds ?? 60)
const baselineCount = Number(values.baseline ?? 100)

const simulated = fork(new URL('./simulated-cluster-process.ts', import.meta.url))
const kubeconfig = String((await once(simulated, 'message'))[0])
const cluster = connectCluster({ name: 'default', kubeconfig, simulated: true })
const bench = await openBenchDatabase()
const worker = fork(new URL('./waits-worker.ts', import.meta.url), {
  execArgv: ['--expose-gc', `--max-semi-space-size=${values['semi-space']}`],
  env: { ...process.env, BENCH_URL: bench.url, BENCH_KUBECONFIG: kubeconfig },
})
await once(worker, 'message')

const database = createDatabase({ url: bench.url, poolMax: 20 })
const queue = createPgBossQueue({ database, supervise: false, onError: console.error })
const signals = createSignalSender(database.pool, console.error)
const listener = createSignalListener({ url: bench.url, onError: console.error })
const logger = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => logger }
const feed = createFeed({ pool: database.pool, listener, logger })
await listener.start()
await queue.start()
await feed.start()
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
    if (type === 'task.failed' || type === 'task.timed_out') {
      console.error(`The task of ${name ?? 'nobody'} failed: the figures below are worth nothing.`)
      process.exitCode = 1
    }
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

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50))
}

async function taken(): Promise<Taken> {
  worker.send('how much?')
  // The worker sends nothing else.
  return (await once(worker, 'message'))[0] as Taken
}

const megabytes = (bytes: number) => (bytes / 1024 / 1024).toFixed(0)
const lags = (names: readonly string[], readyAt: ReadonlyMap<string, number>) =>
  names.map((name) => Math.max(0, (recorded.get(name) ?? Number.NaN) - (readyAt.get(name) ?? Number.NaN)))

// Warm: what the first waits load is not what ten thousand cost.
const warm = await accept(durable, 'warm', 200)
await until(() => parked >= warm.length)
await turnReady(warm, 100)
await until(() => warm.every((name) => recorded.has(name)))
parked = 0
const before = await taken()

const parkBegin = performance.now()
const names = await accept(durable, 'wait', waitCount)
await until(() => parked >= waitCount)
const parkSeconds = (performance.now() - parkBegin) / 1000
await until(async () => (await taken()).waits >= waitCount)
const waiting = await taken()
const readyAt = await turnReady(names, seconds * 1000)
await until(() => names.every((name) => recorded.has(name)))
const durableLags = lags(names, readyAt)

const heldBegin = performance.now()
const heldNames = await accept(holding, 'held', baselineCount)
const heldReady = await turnReady(heldNames, Math.min(seconds, 6) * 1000)
await until(() => heldNames.every((name) => recorded.has(name)))
const heldLags = lags(heldNames, heldReady)
const heldSeconds = (performance.now() - heldBegin) / 1000

const heap = `heap ${megabytes(waiting.heapUsed - before.heapUsed)} MB`
const milliseconds = [0.5, 0.95, 0.99].map((share) => `${percentile(durableLags, share).toFixed(0)} ms`).join(' / ')
console.log(`${waitCount} durable waits in one worker with 10 slots; objects ready over ${seconds} s\n`)
console.log('| | |\n|---|---|')
console.log(`| parked per second | ${(waitCount / parkSeconds).toFixed(0)} |`)
console.log(
  `| memory growth while all wait | ${megabytes(waiting.rss - before.rss)} MB (from ${megabytes(before.rss)} MB; ${heap}) |`,
)
console.log(`| watches held open | ${waiting.upstreams} |`)
console.log(`| ready → recorded, p50 / p95 / p99 | ${milliseconds} |`)
console.log(`| tasks between their waiting and their end | ${waitCount} at once |`)
console.log(
  `\nBeside it, a promise per wait that holds its slot: ${baselineCount} waits took ${heldSeconds.toFixed(1)} s, 10 at once; ready → recorded p95 ${percentile(heldLags, 0.95).toFixed(0)} ms.`,
)

worker.disconnect()
await once(worker, 'exit')
await feed.stop()
await cluster.stop()
await signals.stop()
await listener.stop()
await queue.stop()
await database.stop()
await bench.stop()
simulated.disconnect()
