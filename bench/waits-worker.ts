/** The worker of `waits.ts`, in a process of its own, so that nothing else is measured. Answers how much it takes. */
import { createDatabase } from '../src/database/database.ts'
import { createSignalListener, createSignalSender } from '../src/database/signals.ts'
import { connectClusters } from '../src/kubernetes/clusters.ts'
import { createDiagnoser } from '../src/kubernetes/diagnose.ts'
import { createWatchHub } from '../src/kubernetes/watch-hub.ts'
import { createOperationRegistry } from '../src/operations/registry.ts'
import { createPgBossQueue } from '../src/queue/pg-boss-queue.ts'
import { createWorker } from '../src/worker/worker.ts'
import { durable, holding } from './wait-operations.ts'

export interface Taken {
  readonly rss: number
  readonly heapUsed: number
  readonly waits: number
  readonly upstreams: number
}

const url = process.env['BENCH_URL'] ?? ''
const logger = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => logger }
const clusters = connectClusters([
  { name: 'default', kubeconfig: process.env['BENCH_KUBECONFIG'] ?? '', simulated: true },
])
const database = createDatabase({ url, poolMax: 20 })
const queue = createPgBossQueue({ database, supervise: true, onError: console.error })
const signals = createSignalSender(database.pool, console.error)
const listener = createSignalListener({ url, onError: console.error })
const hub = createWatchHub({ cluster: clusters.get, logger })
const diagnose = createDiagnoser()
const worker = createWorker({
  database,
  queue,
  signals,
  listener,
  operations: createOperationRegistry([durable, holding]),
  hub,
  logger,
  workerId: 'bench',
  cluster: (tenant, name) => clusters.get(clusters.keyFor(tenant, name)),
  clusterKey: clusters.keyFor,
  diagnose: (_wait, object, signal) => diagnose(clusters.get('default'), object, { signal }),
})
await listener.start()
await queue.start()
await worker.start()

process.on('message', () => {
  globalThis.gc?.()
  const { rss, heapUsed } = process.memoryUsage()
  process.send?.({ rss, heapUsed, waits: worker.waits.size, upstreams: hub.stats().upstreams } satisfies Taken)
})
process.on('disconnect', () => {
  void (async () => {
    await worker.stop(0)
    await hub.stop()
    await clusters.stop()
    await signals.stop()
    await listener.stop()
    await queue.stop()
    await database.stop()
    process.exit(0)
  })()
})
process.send?.('ready')
