import { v5 as uuidv5 } from 'uuid'
import { toWireId } from '../contract/ids.ts'
import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import { ClusterRemovedError } from '../kubernetes/cluster-errors.ts'
import {
  createReadinessTracker,
  needsWholeObject,
  type Readiness,
  type ReadinessRules,
  type ReadinessTracker,
} from '../kubernetes/readiness.ts'
import type { WatchHub } from '../kubernetes/watch-hub.ts'
import type { Logger } from '../platform/logger.ts'
import { parseTraceparent } from '../platform/traceparent.ts'
import type { Queue } from '../queue/queue.ts'
import { pinOf } from './finish-wait.ts'
import { finishJobAttempts } from './settle.ts'
import type { WaitReasons } from './wait-reasons.ts'
import { findOpenWaits, listOpenWaits, type OpenWait } from './waits.sql.ts'

export interface WaitWatcherOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly hub: WatchHub
  readonly logger: Logger
  clusterKey(tenant: string, name: string): string
  readonly reasons: WaitReasons
  /** Milliseconds between full scans of the open waits. @default 5_000 */
  readonly scanMs?: number
}

/** Watches for every open wait, and brings the finish job of a decided one forward. */
export interface WaitWatcher {
  start(): void
  /** Looks for new waits now. */
  look(): void
  /** Brings these waits forward, decided or not: somebody asked for it (a cancel). */
  bringForward(eventIds: readonly string[]): void
  /** How many waits are watched. */
  readonly size: number
  stop(): Promise<void>
}

const twinNamespace = '3f0a4f9e-5b0c-4d57-9f0e-0a6a1d3c7b52'

/** The immediate twin of a finish job; every worker derives the same, and the engine keeps the first. */
const twinJobId = (eventId: string): string => uuidv5(eventId, twinNamespace)

const chunk = 500
/** Milliseconds between two looks for new waits. */
const pauseMs = 50

interface Watched {
  readonly wait: OpenWait
  readonly tracker: ReadinessTracker
  unsubscribe(): void
  recheck?: NodeJS.Timeout
  decided?: true
}

export function createWaitWatcher(options: WaitWatcherOptions): WaitWatcher {
  const watched = new Map<string, Watched>()
  const intern = createInterner()
  const decided = new Set<string>()
  let newestSeen: Date | undefined
  let flushing: Promise<void> | undefined
  let scanning: Promise<void> | undefined
  let lookAgain = false
  let timer: NodeJS.Timeout | undefined
  let pause: NodeJS.Timeout | undefined
  let stopped = false

  const flush = async (): Promise<void> => {
    while (decided.size > 0 && !stopped) {
      const eventIds = [...decided].slice(0, 500)
      for (const id of eventIds) decided.delete(id)
      await insertTwins(options, eventIds)
    }
  }
  const bringForward = (eventIds: readonly string[]): void => {
    for (const id of eventIds) decided.add(id)
    if (flushing || decided.size === 0 || stopped) return
    flushing = flush().finally(() => {
      flushing = undefined
      // Added while the last twins were on their way.
      bringForward([])
    })
  }

  const drop = (eventId: string): void => {
    const entry = watched.get(eventId)
    if (!entry) return
    watched.delete(eventId)
    options.reasons.forget(eventId)
    clearTimeout(entry.recheck)
    entry.unsubscribe()
  }

  const judge = (eventId: string, evaluate: (tracker: ReadinessTracker) => Readiness): void => {
    const entry = watched.get(eventId)
    if (!entry) return
    clearTimeout(entry.recheck)
    const readiness = evaluate(entry.tracker)
    if (readiness.state !== 'pending') {
      entry.decided = true
      options.reasons.forget(eventId)
      bringForward([eventId])
      return
    }
    options.reasons.pending(entry.wait, readiness.reason, readiness.message)
    // A declared failure counts only after its grace: nothing may happen to the object meanwhile.
    if (readiness.recheckAt === undefined) return
    const recheck = () => judge(eventId, (tracker) => tracker.recheck(Date.now()))
    entry.recheck = setTimeout(recheck, readiness.recheckAt - Date.now()).unref()
  }

  const watch = (wait: OpenWait): void => {
    const { apiVersion, kind, name, namespace, basePath } = wait
    // Before subscribing: what the cache knows may come at once.
    const tracker = createReadinessTracker(wait.rules, pinOf(wait))
    const entry: Watched = { wait, tracker, unsubscribe: () => undefined }
    watched.set(wait.eventId, entry)
    const subscription = options.hub.subscribe(
      {
        cluster: options.clusterKey(wait.tenant, wait.cluster),
        apiVersion,
        kind,
        name,
        basePath,
        ...(namespace !== null && { namespace }),
        whole: needsWholeObject(wait.rules),
      },
      (event) => judge(wait.eventId, (tracker) => tracker.take(event, Date.now())),
      (error) => {
        if (error instanceof ClusterRemovedError) bringForward([wait.eventId])
      },
    )
    entry.unsubscribe = () => subscription.unsubscribe()
  }

  const tryToWatch = (wait: OpenWait): void => {
    try {
      watch(wait)
    } catch (error) {
      // Another worker may know this cluster; behind the watch stands the finish job at the deadline.
      drop(wait.eventId)
      const about = { taskId: toWireId('task', wait.taskId), traceId: parseTraceparent(wait.traceparent)?.traceId }
      if (error instanceof ClusterRemovedError) bringForward([wait.eventId])
      else options.logger.warn('wait cannot be watched here', { ...about, cluster: wait.cluster, error })
    }
  }

  const scan = async (full: boolean): Promise<void> => {
    // Rows commit out of order: look back a little behind the newest one seen.
    const since = full || !newestSeen ? undefined : new Date(newestSeen.getTime() - 10_000)
    const asWorker = { role: 'sluice_worker' } as const
    const { eventIds, newest } = await options.database.transaction(asWorker, (tx) => listOpenWaits(tx, since))
    const unknown = eventIds.filter((eventId) => !watched.has(eventId))
    // Still open: the twin could not be inserted. Once more; the engine drops one that it has seen.
    if (full) bringForward(eventIds.filter((eventId) => watched.get(eventId)?.decided))
    for (let from = 0; from < unknown.length && !stopped; from += chunk) {
      const some = unknown.slice(from, from + chunk)
      const waits = await options.database.transaction(asWorker, (tx) => findOpenWaits(tx, some))
      for (const wait of waits) if (!stopped) tryToWatch({ ...wait, rules: intern(wait.rules) })
    }
    if (newest && (!newestSeen || newest > newestSeen)) newestSeen = newest
    if (!full) return
    const ids = new Set(eventIds)
    for (const eventId of [...watched.keys()]) if (!ids.has(eventId)) drop(eventId)
  }

  const look = (full: boolean): void => {
    if (stopped) return
    if (scanning || (pause && !full)) {
      lookAgain = true
      return
    }
    scanning = scan(full)
      .catch((error: unknown) => options.logger.warn('open waits could not be read; looking again soon', { error }))
      .finally(() => {
        scanning = undefined
        // Tasks park by the hundred in a second: one look for many of them.
        pause = setTimeout(() => {
          pause = undefined
          if (!lookAgain) return
          lookAgain = false
          look(false)
        }, pauseMs)
      })
  }

  return {
    start: () => {
      look(true)
      timer = setInterval(() => look(true), options.scanMs ?? 5_000)
    },
    look: () => look(false),
    bringForward,
    get size() {
      return watched.size
    },
    stop: async () => {
      stopped = true
      clearInterval(timer)
      await Promise.all([scanning, flushing])
      clearTimeout(pause)
      for (const eventId of [...watched.keys()]) drop(eventId)
    },
  }
}

async function insertTwins(options: WaitWatcherOptions, eventIds: readonly string[]): Promise<void> {
  const twins = eventIds.map((eventId) => ({
    id: twinJobId(eventId),
    eventId,
    maxAttempts: finishJobAttempts,
    expireInMs: 120_000,
  }))
  try {
    await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
      options.queue.insert(tx, 'sluice-finish', twins),
    )
    options.signals.send('finish')
  } catch (error) {
    // The next full scan tries again; behind it stands the deadline's own job.
    options.logger.warn('finish jobs could not be brought forward', { count: eventIds.length, error })
  }
}

/** Equal rules as one: thousands of waits of an operation have the same. */
function createInterner(): (rules: ReadinessRules) => ReadinessRules {
  const known = new Map<string, WeakRef<ReadinessRules>>()
  return (rules) => {
    const key = JSON.stringify(rules)
    const same = known.get(key)?.deref()
    if (same) return same
    // Rules come from requests, too: what nobody uses any more is forgotten.
    for (const [each, reference] of known) if (!reference.deref()) known.delete(each)
    known.set(key, new WeakRef(rules))
    return rules
  }
}
