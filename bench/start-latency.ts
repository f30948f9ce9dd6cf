/**
 * From commit to start on an idle system: the acceptance has returned, until `perform` is called. Beside it, what the
 * same machine needs for one round trip to PostgreSQL.
 *
 *   node bench/start-latency.ts [--tasks 500]
 */
import { parseArgs } from 'node:util'
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { createDatabase } from '../src/database/database.ts'
import { createSignalListener, createSignalSender } from '../src/database/signals.ts'
import { createWatchHub } from '../src/kubernetes/watch-hub.ts'
import { completed, defineOperation, type Operation } from '../src/operations/define-operation.ts'
import { createOperationRegistry } from '../src/operations/registry.ts'
import { createPgBossQueue } from '../src/queue/pg-boss-queue.ts'
import { createTaskAcceptor, type TaskAcceptor } from '../src/tasks/accept-task.ts'
import { createWorker } from '../src/worker/worker.ts'
import { openBenchDatabase, percentile } from './bench-database.ts'

const { values } = parseArgs({ options: { tasks: { type: 'string' } } })
const tasks = Number(values.tasks ?? 500)

const bench = await openBenchDatabase()
const database = createDatabase({ url: bench.url, poolMax: 20 })
const queue = createPgBossQueue({ database, supervise: true, onError: console.error })
const listener = createSignalListener({ url: bench.url, onError: console.error })
const signals = createSignalSender(database.pool, console.error, listener)
const silent = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => silent }
const noCluster = (): never => {
  throw new Error('no cluster here')
}

const starts = new Map<string, number>()
const started = new Map<string, () => void>()
const operation = (kind: 'short' | 'long') =>
  defineOperation({
    type: `bench.${kind}`,
    title: 'Nothing',
    input: z.strictObject({ name: z.string() }),
    class: kind,
    perform: async (_context, { name }) => {
      starts.set(name, performance.now())
      started.get(name)?.()
      return completed({})
    },
  })
const operations = [operation('short'), operation('long')]
const worker = createWorker({
  database,
  queue,
  signals,
  listener,
  operations: createOperationRegistry(operations),
  hub: createWatchHub({ cluster: noCluster }),
  logger: silent,
  workerId: 'bench',
  cluster: noCluster,
  clusterKey: noCluster,
  diagnose: async () => undefined,
})
await listener.start()
await queue.start()
await worker.start()
// As in a process of the role `api`: its worker hears over the database.
const fromAfar = createSignalSender(database.pool, console.error)
const acceptors = {
  'in one process': createTaskAcceptor({ database, queue, signals }),
  'accepted by another process': createTaskAcceptor({ database, queue, signals: fromAfar }),
}

console.log(`${tasks} tasks of each class, one at a time\n\n| commit to start | p50 ms | p99 ms |\n|---|---|---|`)
for (const [place, acceptor] of Object.entries(acceptors))
  for (const kind of operations) await measure(place, acceptor, kind)

async function measure(place: string, acceptor: TaskAcceptor, kind: Operation): Promise<void> {
  const latencies: number[] = []
  for (let i = 0; i < tasks; i++) {
    const name = randomUUID()
    const start = new Promise<void>((resolve) => started.set(name, resolve))
    await acceptor.accept({ operation: kind, input: { name }, options: {}, tenant: 'default', actor: 'bench' })
    const committed = performance.now()
    await start
    latencies.push((starts.get(name) ?? Number.NaN) - committed)
    started.delete(name)
    // Idle again: the next one meets sleeping workers.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  console.log(
    `| ${kind.class}, ${place} | ${percentile(latencies, 0.5).toFixed(2)} | ${percentile(latencies, 0.99).toFixed(2)} |`,
  )
}
const roundTrips: number[] = []
for (let i = 0; i < tasks; i++) {
  const begin = performance.now()
  await database.pool.query('select 1')
  roundTrips.push(performance.now() - begin)
}
console.log(
  `| one round trip to PostgreSQL | ${percentile(roundTrips, 0.5).toFixed(2)} | ${percentile(roundTrips, 0.99).toFixed(2)} |`,
)

await worker.stop()
await signals.stop()
await fromAfar.stop()
await listener.stop()
await queue.stop()
await database.stop()
await bench.stop()
