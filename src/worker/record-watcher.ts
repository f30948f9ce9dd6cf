import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Cluster, KubernetesObject } from '../kubernetes/cluster.ts'
import { ClusterRemovedError } from '../kubernetes/cluster-errors.ts'
import { conditionsOf } from '../kubernetes/readiness-presets.ts'
import type { WatchHub } from '../kubernetes/watch-hub.ts'
import type { Logger } from '../platform/logger.ts'
import {
  listRecordedKinds,
  listUnseen,
  type Observation,
  type RecordedKind,
  type RecordedObject,
  recordObservations,
} from './observe-records.sql.ts'

export interface RecordWatcherOptions {
  readonly database: Database
  readonly signals: SignalSender
  readonly hub: WatchHub
  readonly logger: Logger
  readonly workerId: string
  clusterKey(tenant: string, name: string): string
  cluster(tenant: string, name: string): Cluster
}

/** Notices what happens to managed objects behind our back, and keeps their records. */
export interface RecordWatcher {
  /**
   * Begins to watch kinds that are new, and leaves those that no record has any more. What was deleted while nobody watched
   * is found by its absence.
   */
  look(): Promise<void>
  /** Writes what was seen since. */
  flush(): Promise<void>
  stop(): void
}

const perStatement = 500
/** Milliseconds that the cluster has to say whether an object is there. */
const lookMs = 10_000

interface Unseen {
  readonly kind: RecordedKind
  readonly uids: ReadonlySet<string>
}

export function createRecordWatcher(options: RecordWatcherOptions): RecordWatcher {
  const watched = new Map<string, () => void>()
  // The newest state of each object: what came between two writes is never written.
  const seen = new Map<string, Observation>()
  const unseen: Unseen[] = []

  const note = (kind: RecordedKind, object: KubernetesObject, deleted: boolean): void => {
    const { name, namespace = '', uid, generation = 0 } = object.metadata
    // KubeVirt and others stamp heartbeats into their conditions: what does not tell a state is left out.
    const conditions = conditionsOf(object).map(({ type, status, reason, message }) => ({
      type,
      status,
      reason,
      message,
    }))
    seen.set(`${kind.tenant} ${kind.cluster} ${kind.basePath} ${uid}`, {
      ...kind,
      namespace,
      name,
      uid,
      generation,
      deleted,
      conditions,
    })
  }

  const watch = (kind: RecordedKind): (() => void) => {
    const { basePath, apiVersion, kind: kindName } = kind
    const cluster = options.clusterKey(kind.tenant, kind.cluster)
    const target = { cluster, basePath, apiVersion, kind: kindName, allNamespaces: true, awaited: false }
    // The first time that the state is complete: what records know and it does not have may have gone before.
    let first: Set<string> | undefined = new Set()
    const subscription = options.hub.subscribe(target, (event) => {
      if (event.type === 'synced') {
        if (first) unseen.push({ kind, uids: first })
        first = undefined
        return
      }
      first?.add(event.object.metadata.uid)
      note(kind, event.object, event.type === 'deleted')
    })
    return () => subscription.unsubscribe()
  }

  // The state may be as old as the watch is late: the object itself says whether it is gone.
  const isGone = async (kind: RecordedKind, { namespace, name, uid }: RecordedObject): Promise<boolean> => {
    const ref = { apiVersion: kind.apiVersion, kind: kind.kind, name, ...(namespace !== '' && { namespace }) }
    const signal = AbortSignal.timeout(lookMs)
    const object = await options.cluster(kind.tenant, kind.cluster).get(ref, { basePath: kind.basePath, signal })
    return object?.metadata.uid !== uid
  }

  const lookForGone = async ({ kind, uids }: Unseen): Promise<void> => {
    const objects = await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
      listUnseen(tx, kind, [...uids]),
    )
    for (const object of objects) {
      if (!(await isGone(kind, object))) continue
      const { namespace, name, uid, generation } = object
      const observation = { ...kind, namespace, name, uid, generation: generation ?? 0, deleted: true, conditions: [] }
      seen.set(`${kind.tenant} ${kind.cluster} ${kind.basePath} ${uid}`, observation)
    }
  }

  return {
    look: async () => {
      const kinds = await options.database.transaction({ role: 'sluice_worker' }, listRecordedKinds)
      const wanted = new Map(kinds.map((kind) => [keyOf(kind), kind]))
      for (const [key, kind] of wanted) {
        if (watched.has(key)) continue
        try {
          watched.set(key, watch(kind))
        } catch (error) {
          // Another worker may know this cluster.
          options.logger.debug('records of this kind cannot be watched here', { ...kind, error })
        }
      }
      for (const [key, unsubscribe] of watched) {
        if (wanted.has(key)) continue
        unsubscribe()
        watched.delete(key)
      }
    },
    flush: async () => {
      for (const one of unseen.splice(0)) {
        await lookForGone(one).catch((error: unknown) => {
          if (!(error instanceof ClusterRemovedError)) unseen.push(one)
          options.logger.debug('records could not be compared with their cluster; looking again', {
            ...one.kind,
            error,
          })
        })
      }
      while (seen.size > 0) {
        const batch = [...seen].slice(0, perStatement)
        const observations = batch.map(([, observation]) => observation)
        const drifted = await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
          recordObservations(tx, observations, options.workerId),
        )
        // Only now: what could not be written is tried again, unless something newer was seen meanwhile.
        for (const [key, observation] of batch) if (seen.get(key) === observation) seen.delete(key)
        if (drifted > 0) options.signals.send('events')
      }
    },
    stop: () => {
      for (const unsubscribe of watched.values()) unsubscribe()
      watched.clear()
    },
  }
}

const keyOf = ({ tenant, cluster, basePath, apiVersion, kind }: RecordedKind): string =>
  `${tenant} ${cluster} ${basePath} ${apiVersion} ${kind}`
