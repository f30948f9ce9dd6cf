// A worker in a process of its own. Its operations do what their input's `script` says; it prints a line per step.
import { z } from 'zod'
import { createDatabase } from '../../src/database/database.ts'
import { createSignalListener, createSignalSender } from '../../src/database/signals.ts'
import { createWatchHub } from '../../src/kubernetes/watch-hub.ts'
import { createAnalysis } from '../../src/operations/analysis/analysis-create.ts'
import { completed, defineOperation, type PerformContext } from '../../src/operations/define-operation.ts'
import { TransientError } from '../../src/operations/errors.ts'
import { createOperationRegistry } from '../../src/operations/registry.ts'
import { createMemoryCache } from '../../src/platform/memory/memory-cache.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import { createPgBossQueue } from '../../src/queue/pg-boss-queue.ts'
import type { Queue } from '../../src/queue/queue.ts'
import { createWorker } from '../../src/worker/worker.ts'

const url = process.env['DATABASE_URL'] ?? ''
const say = (text: string) => void process.stdout.write(`${text}\n`)
const noCluster = (): never => {
  throw new Error('no cluster here')
}

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    // The test is over long before; without a timer an idle process would end.
    const alive = setInterval(() => undefined, 1_000)
    signal.addEventListener(
      'abort',
      () => {
        clearInterval(alive)
        reject(signal.reason)
      },
      { once: true },
    )
  })

const scripts: Readonly<Record<string, (context: PerformContext) => Promise<void>>> = {
  complete: async () => undefined,
  hang: ({ signal }) => aborted(signal),
  deaf: () => new Promise(() => undefined),
  // The first attempt never ends; whoever takes the task over is done at once.
  'hang once': ({ attempt, signal }) => (attempt === 1 ? aborted(signal) : Promise.resolve()),
  busy: async () => {
    throw new TransientError('not now', { code: 'busy' })
  },
  crash: async () => void process.kill(process.pid, 'SIGKILL'),
}

const scripted = (type: string, kind: 'short' | 'long') =>
  defineOperation({
    type,
    title: 'Scripted',
    input: z.strictObject({ name: z.string(), script: z.string() }),
    class: kind,
    retry: { backoff: { initialMs: 60_000 } },
    perform: async (context, { script }) => {
      say(`performs ${script} ${context.attempt}`)
      context.signal.addEventListener('abort', () => say(`aborted ${script} ${context.attempt}`))
      await scripts[script]?.(context)
      return completed({ pid: process.pid })
    },
  })

const database = createDatabase({ url, poolMax: 10, poolMin: 0, onConnectionError: () => undefined })
const engine = createPgBossQueue({ database, supervise: true, onError: () => undefined })
let paused = false
const queue: Queue = {
  ...engine,
  complete: async (tx, name, jobs) => {
    // Stands still inside its outcome transaction, with the event written and the locks held.
    if (process.env['PAUSE_IN_SETTLE'] && !paused && name === 'sluice-long') {
      paused = true
      say('pauses')
      process.kill(process.pid, 'SIGSTOP')
    }
    await engine.complete(tx, name, jobs)
  },
}
const signals = createSignalSender(database.pool, () => undefined)
const listener = createSignalListener({ url, onError: () => undefined })
const worker = createWorker({
  database,
  queue,
  signals,
  listener,
  operations: createOperationRegistry([
    scripted('script.long', 'long'),
    scripted('script.short', 'short'),
    createAnalysis({ cache: createMemoryCache(), hosts: (process.env['GIT_HOSTS'] ?? '').split(',') }),
  ]),
  hub: createWatchHub({ cluster: noCluster }),
  logger: createMemoryLogger(),
  workerId: `process/${process.pid}`,
  graceMs: Number(process.env['GRACE_MS'] ?? 5_000),
  cluster: noCluster,
  clusterKey: (_tenant, name) => name,
  diagnose: async () => undefined,
})
await listener.start()
await queue.start()
await worker.start()
say('ready')

process.once('SIGTERM', () => {
  say('stopping')
  void (async () => {
    await worker.stop(Number(process.env['DRAIN_MS'] ?? 20_000))
    await signals.stop()
    await listener.stop()
    await queue.stop()
    await database.stop()
    say('stopped')
    process.exit(0)
  })()
})
