import { AsyncLocalStorage } from 'node:async_hooks'
import { sealEvents } from '../audit/seal.ts'
import type { Database } from '../database/database.ts'
import type { SignalListener, SignalSender } from '../database/signals.ts'
import type { Instruments } from '../metrics/instruments.ts'
import type { Cluster, KubernetesObject } from '../kubernetes/cluster.ts'
import type { WatchHub } from '../kubernetes/watch-hub.ts'
import { deliver, dispatchNotifications, endAbandonedDeliveries } from '../notifications/deliver.ts'
import type { Mailer } from '../notifications/mailer.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import type { FeatureFlags } from '../platform/feature-flags.ts'
import type { Logger } from '../platform/logger.ts'
import { createIdTracer } from '../platform/propagating-tracer.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { Queue, WorkHandle } from '../queue/queue.ts'
import type { ResultStore } from '../tasks/result-store.ts'
import { expireTickets } from '../tasks/expire-tickets.ts'
import { hostname } from 'node:os'
import { endDeadLetters } from './dead-letter.ts'
import { finishWaits } from './finish-wait.ts'
import { stopBatches } from '../tasks/stop-batches.ts'
import { endCancelled, endOverdue, tidy } from './housekeeping.ts'
import type { Gate } from '../tasks/gate.ts'
import type { Places } from '../tasks/places.ts'
import { type FireSchedulesOptions, fireSchedules } from '../tasks/fire-schedules.ts'
import { createHeartbeat, heartbeatMs } from './heartbeat.ts'
import { listCancelling } from './overdue.sql.ts'
import { createProgressWriter } from './progress-writer.ts'
import { createRecordWatcher } from './record-watcher.ts'
import { createRunningAttempts } from './running-attempts.ts'
import { runTasks, type RunTaskOptions } from './run-task.ts'
import { createSettler } from './settle.ts'
import { createWaitReasons } from './wait-reasons.ts'
import { createWaitWatcher, type WaitWatcher } from './wait-watcher.ts'
import type { OpenWait } from './waits.sql.ts'
import { wakeHeld } from './wake-held.ts'

export interface WorkerOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly listener: SignalListener
  readonly operations: OperationRegistry
  readonly hub: WatchHub
  readonly logger: Logger
  /** For what schedules ask for. Without them each flag is its default. */
  readonly featureFlags?: FeatureFlags
  /** Where results go that are too large for a row. Without it rows hold them all. */
  readonly results?: ResultStore | undefined
  /** @default nobody counts */
  readonly instruments?: Instruments
  /** @default ids that travel, and no span is sent */
  readonly tracer?: Tracer
  readonly workerId: string
  /** Long tasks at once, and short ones per batch: 1 to 10. @default 10 */
  readonly slots?: number
  /** Milliseconds that a handler gets to end after its signal fired. @default 5_000 */
  readonly graceMs?: number
  readonly random?: () => number
  /** Opens the secrets of webhooks. Without it messages to them fail, and are tried again. */
  readonly secrets?: SecretBox | undefined
  readonly mailer?: Mailer | undefined
  /** What a tenant calls by this name. */
  cluster(tenant: string, name: string): Cluster
  /** What the hub calls the same. */
  clusterKey(tenant: string, name: string): string
  /** Looks for a cluster that this process does not know yet. Without it nobody adds one. */
  expectCluster?(tenant: string, name: string): Promise<void>
  /** The policy at the door, for what schedules ask for. Without it nothing needs an approval. */
  readonly gate?: Gate
  /** Where objects stand behind base paths, for what schedules ask for. Without it everything stands at the server itself. */
  readonly places?: Places
  /** Who the owner of a schedule is today. Without it everybody may ask for what they scheduled. */
  readonly findOwner?: FireSchedulesOptions['findOwner']
  /** Days that tasks are kept after their end, and the log after its last event. @default 30 */
  readonly retentionDays?: number
  /** Shown in the registry. @default '0.0.0' */
  readonly version?: string
  /** Whether the process serves the API, too. @default 'worker' */
  readonly role?: 'all' | 'worker'
  /** The process's wall clock, reported against the database's; no deadline depends on it. @default Date.now */
  readonly wallClock?: () => number
  /** Milliseconds that a wait may take before its task says why. @default 15_000 */
  readonly explainAfterMs?: number
  /** Explains why an object is not ready; best effort. */
  diagnose(wait: OpenWait, object: KubernetesObject, signal: AbortSignal): Promise<string | undefined>
}

export interface Worker {
  start(): Promise<void>
  /** Takes no more jobs, lets those in hand end for up to `drainMs`, hands the rest back. @default 20_000 */
  stop(drainMs?: number): Promise<void>
  readonly waits: Pick<WaitWatcher, 'size'>
  /** Attempts under way. */
  readonly running: number
}

const finishBatch = 50
const scanMs = 1_000
const dispatchMs = 25
const overdueScanMs = 5_000
const recordScanMs = 5_000
const recordWriteMs = 1_000
const tidyMs = 60_000
/** How long an event may stand unsealed, about. */
const sealMs = 2_000

/** One process's worker: takes jobs, runs operations, settles outcomes, watches for what they wait for. */
export function createWorker(given: WorkerOptions): Worker {
  const options = { ...given, tracer: given.tracer ?? createIdTracer() }
  const { database, queue, signals, logger, workerId } = options
  const slots = checkedSlots(options.slots ?? 10)
  const graceMs = options.graceMs ?? 5_000
  const running = createRunningAttempts()
  const settler = createSettler({ database, queue, signals, workerId })
  const progress = createProgressWriter({ database, signals, logger, workerId })
  const reasons = createWaitReasons(options)
  const watcher = createWaitWatcher({
    reasons,
    database,
    queue,
    signals,
    hub: options.hub,
    logger,
    clusterKey: options.clusterKey,
  })
  const records = createRecordWatcher({
    database,
    signals,
    hub: options.hub,
    logger,
    workerId,
    clusterKey: options.clusterKey,
    cluster: options.cluster,
  })
  const heartbeat = createHeartbeat(
    database,
    {
      workerId,
      role: options.role ?? 'worker',
      version: options.version ?? '0.0.0',
      slots,
      host: hostname(),
      pid: process.pid,
      operations: options.operations.all().map(({ type }) => type),
    },
    options.wallClock,
  )
  // Known from the last look: where nothing is held, an outcome asks for none.
  let someHeld = false
  const housekeeping = {
    database,
    queue,
    signals,
    logger,
    workerId,
    graceMs: graceMs + 2_000,
    retentionDays: options.retentionDays ?? 30,
    results: options.results,
  }
  const runOptions: RunTaskOptions = {
    ...options,
    running,
    graceMs,
    random: options.random ?? Math.random,
    settler: {
      settle: async (attempt, outcome) => {
        await progress.flush(attempt)
        await settler.settle(attempt, outcome)
        lookBehind(outcome.kind === 'failed' || outcome.kind === 'timed_out')
      },
    },
    onProgress: (attempt, report) => progress.report(attempt, report),
    onLost: (attempt) => progress.forget(attempt),
    onStarted: () => signals.send('events'),
    onHeld: () => {
      someHeld = true
    },
  }
  const handles: WorkHandle[] = []
  const background = createBackground(logger)

  const lookForCancels = async (): Promise<void> => {
    const cancelling = await database.transaction({ role: 'sluice_worker' }, (tx) =>
      listCancelling(tx, running.taskIds()),
    )
    const waiting: string[] = []
    for (const task of cancelling) {
      if (task.status === 'RUNNING') running.cancel(task.taskId, task.cancelRequestedBy)
      else if (task.status === 'RETRYING') await endCancelled(housekeeping, task)
      else if (task.eventId) waiting.push(task.eventId)
    }
    watcher.bringForward(waiting)
  }

  const stopAll = () => stopBatches(options)

  const lookForHeld = async (): Promise<void> => {
    someHeld = await wakeHeld({ database, queue, signals })
  }

  /** What the end of a task may have made due: somebody held starts, or the rest of its batch is cancelled. */
  const lookBehind = (mayHaveFailed: boolean): void => {
    if (someHeld) background.run('wake held', lookForHeld)
    if (mayHaveFailed) background.run('stopping batches', stopAll)
  }

  return {
    waits: watcher,
    get running() {
      return running.count
    },
    start: async () => {
      await heartbeat.beat(0)
      const short = await queue.work('sluice-short', { workers: 1, batchSize: slots }, (jobs) =>
        runTasks(runOptions, 'sluice-short', jobs),
      )
      const long = await queue.work('sluice-long', { workers: slots, batchSize: 1 }, (jobs) =>
        runTasks(runOptions, 'sluice-long', jobs),
      )
      const finish = await queue.work('sluice-finish', { workers: 1, batchSize: finishBatch }, (jobs) =>
        finishWaits({ ...options, lookMs: 15_000 }, jobs).finally(() => lookBehind(true)),
      )
      const dead = await queue.work('sluice-dead', { workers: 1, batchSize: 10 }, (jobs) =>
        endAbandonedDeliveries(options, jobs).then(() => endDeadLetters(options, jobs)),
      )
      const messages = await queue.work('sluice-deliver', { workers: 4, batchSize: 1 }, (jobs) =>
        deliver({ ...options, secrets: options.secrets, random: options.random ?? Math.random }, jobs),
      )
      handles.push(short, long, finish, dead, messages)
      options.listener.on('deliver', messages.wake)
      const dispatch = async () => {
        if ((await dispatchNotifications(options)) > 0) signals.send('deliver')
      }
      // Nobody's message is in such a hurry, and a start is.
      options.listener.on('events', () => background.soon(dispatchMs, 'dispatch', dispatch))
      background.every(scanMs, 'dispatch', dispatch)
      options.listener.on('short', short.wake)
      options.listener.on('long', long.wake)
      options.listener.on('finish', finish.wake)
      options.listener.on('dead', dead.wake)
      options.listener.on('waits', watcher.look)
      options.listener.on('cancel', () => background.run('cancel', lookForCancels))
      watcher.start()
      background.every(scanMs, 'cancel', lookForCancels)
      // At once: what passed its deadline while no worker was alive has waited long enough.
      background.run('overdue', () => endOverdue(housekeeping))
      background.every(overdueScanMs, 'overdue', () => endOverdue(housekeeping))
      background.run('records', records.look)
      background.every(recordScanMs, 'records', records.look)
      background.every(recordWriteMs, 'observations', records.flush)
      background.every(overdueScanMs, 'tickets', () => expireTickets(housekeeping))
      background.every(scanMs, 'wait reasons', reasons.tell)
      background.every(scanMs, 'wake held', lookForHeld)
      background.every(scanMs, 'schedules', () => fireSchedules(options))
      background.every(scanMs, 'stopping batches', stopAll)
      background.every(heartbeatMs, 'heartbeat', () => heartbeat.beat(running.count))
      background.every(sealMs, 'seal', () => sealEvents({ database }))
      background.every(tidyMs, 'tidy', () => tidy(housekeeping))
    },
    stop: async (drainMs = 20_000) => {
      const stopping = Promise.all(handles.map((handle) => handle.stop()))
      const drain = setTimeout(() => running.abortAll('shutdown'), drainMs)
      await stopping
      clearTimeout(drain)
      await background.stop()
      records.stop()
      await watcher.stop()
      await heartbeat.leave().catch((error: unknown) => logger.warn('the worker could not sign off', { error }))
    },
  }
}

function checkedSlots(slots: number): number {
  if (Number.isInteger(slots) && slots >= 1 && slots <= 10) return slots
  throw new Error(
    `A worker has 1 to 10 slots, not ${slots}: waits hold none, so ten serve thousands of tasks. Start more processes for more work at once.`,
  )
}

interface Background {
  every(intervalMs: number, name: string, work: () => Promise<unknown>): void
  /** Runs now; while one is under way, once more after it. */
  run(name: string, work: () => Promise<unknown>): void
  /** Runs after this time; whoever asks meanwhile asks for the same run. */
  soon(delayMs: number, name: string, work: () => Promise<unknown>): void
  stop(): Promise<void>
}

/** Work that nobody awaits: never twice at once, its errors logged, ended by `stop`. */
function createBackground(logger: Logger): Background {
  // Asked for in the middle of an attempt, it is nobody's attempt: its lines and spans must not say so.
  const outside = AsyncLocalStorage.snapshot()
  const timers: NodeJS.Timeout[] = []
  const underWay = new Map<string, Promise<void>>()
  const again = new Set<string>()
  const asked = new Map<string, NodeJS.Timeout>()
  let stopped = false
  const run = (name: string, work: () => Promise<unknown>): void => {
    if (stopped) return
    if (underWay.has(name)) {
      again.add(name)
      return
    }
    const ended = outside(work)
      .then(() => undefined)
      .catch((error: unknown) => logger.warn('background work failed; it runs again', { work: name, error }))
      .finally(() => {
        underWay.delete(name)
        if (again.delete(name)) run(name, work)
      })
    underWay.set(name, ended)
  }
  return {
    run,
    soon: (delayMs, name, work) => {
      if (stopped || asked.has(name)) return
      const start = () => {
        asked.delete(name)
        run(name, work)
      }
      asked.set(name, setTimeout(start, delayMs))
    },
    every: (intervalMs, name, work) => {
      timers.push(setInterval(() => underWay.has(name) || run(name, work), intervalMs))
    },
    stop: async () => {
      stopped = true
      timers.forEach(clearInterval)
      asked.forEach((timer) => clearTimeout(timer))
      await Promise.all(underWay.values())
    },
  }
}
