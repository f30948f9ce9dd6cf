import type { Server } from 'node:net'
import { stringify } from 'yaml'
import { ApiServer } from './api-server.ts'
import { Authorizer, type SimulatedRule, type SimulatedToken } from './authorization.ts'
import { builtInKinds } from './built-in-kinds.ts'
import { seededRandom, systemClock, type SimulatedClock } from './clock.ts'
import { readIdentity, writeIdentity, type ClusterIdentity } from './cluster-folder.ts'
import { controllers, housekeepers } from './controllers/all-controllers.ts'
import { controllerDefaults, type ControllerContext, type ControllerOptions } from './controllers/controller.ts'
import { ControllerRunner } from './controllers/controller-runner.ts'
import { EventRecorder } from './controllers/event-recorder.ts'
import { GarbageCollector } from './controllers/garbage-collector.ts'
import {
  Faults,
  type ActiveFault,
  type ControllerFault,
  type FaultInjector,
  type FaultMatch,
  type FaultTargets,
} from './faults.ts'
import { CrdRegistrar } from './crd-registrar.ts'
import { Journal } from './journal.ts'
import { openListener, portOf, refuseSecondStart } from './listener.ts'
import { ObjectRemover } from './object-remover.ts'
import { ObjectStore } from './object-store.ts'
import { ObjectWriter } from './object-writer.ts'
import { namespaceKind } from './kinds/core.ts'
import { ResourceHandler } from './resource-handler.ts'
import { KindRegistry } from './resource-kind.ts'
import { WatchCache } from './watch-cache.ts'

export { DamagedJournalError } from './journal.ts'
export { FolderInUseError, PortTakenError } from './listener.ts'
export type {
  ActiveFault,
  ControllerFault,
  ControllerOptions,
  FaultInjector,
  FaultMatch,
  SimulatedClock,
  SimulatedRule,
  SimulatedToken,
}

export { createFaultScript, runFaultScript } from './fault-script.ts'
export type { FaultScriptOptions, FaultStep } from './fault-script.ts'

export interface SimulatedClusterOptions {
  /** Folder that keeps objects, port and token over restarts; without it everything lives in memory and the port is free. */
  readonly dataDir?: string
  /** @default '127.0.0.1' */
  readonly host?: string
  /** @default the port kept in `dataDir`, else a free one */
  readonly port?: number
  /** Bearer tokens; without them one random administrator's token is made, and kept in `dataDir`. */
  readonly tokens?: readonly SimulatedToken[]
  /** Delays and whether controllers run at all. */
  readonly controllers?: Partial<ControllerOptions>
  /** Milliseconds between two bookmarks of a watch. @default 60_000 */
  readonly bookmarkMs?: number
  /** Milliseconds that watch history is kept at least. @default 75_000 */
  readonly historyMs?: number
  /** Events per resource that watch history keeps at least. @default 100 */
  readonly historyEvents?: number
  /** False: `sendInitialEvents` is refused with 422, as by an API server without it. @default true */
  readonly watchList?: boolean
  /** @default the system's */
  readonly clock?: SimulatedClock
  /** Of everything that happens by chance, except names and uids. @default 1 */
  readonly seed?: number
}

export interface SimulatedCluster {
  /** `http://host:port`; the same port speaks HTTPS with a certificate of its own. */
  readonly url: string
  readonly port: number
  /** The administrator's. */
  readonly token: string
  /** YAML with server, authority and token, context `simulated`. Over HTTPS: kubectl sends tokens no other way. */
  kubeconfig(): string
  readonly faults: FaultInjector
  /** Requests since the start. */
  readonly requestCount: number
  /** Watches open now. */
  readonly watchCount: number
  /** Closes every connection and file. Can be called again. */
  stop(): Promise<void>
}

/**
 * Starts an HTTP server that speaks the Kubernetes API conventions, with small controllers behind it.
 * What it does not support it refuses with a 4xx Status. Throws PortTakenError,
 * FolderInUseError and DamagedJournalError.
 */
export async function startSimulatedCluster(options: SimulatedClusterOptions = {}): Promise<SimulatedCluster> {
  const host = options.host ?? '127.0.0.1'
  const clock = options.clock ?? systemClock
  const identity = readIdentity(options.dataDir, host, clock.now())
  const tokens = options.tokens ?? [{ token: identity.token, user: 'simulated-admin', groups: ['system:masters'] }]
  const token = tokens.find(({ rules }) => rules === undefined)?.token ?? tokens[0]?.token ?? ''
  const wanted = options.port ?? identity.port ?? 0
  if (options.dataDir !== undefined) await refuseSecondStart(options.dataDir, identity, { host, port: wanted })
  const listener = await openListener(host, wanted)
  let cluster: Assembled
  try {
    cluster = assemble({ options, tokens, clock, identity, listener })
  } catch (error) {
    listener.close()
    throw error
  }
  const port = portOf(listener)
  if (options.dataDir !== undefined) writeIdentity(options.dataDir, { ...identity, port })
  const running = cluster.startControllers()
  let stopping: Promise<void> | undefined
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const url = `http://${address}`
  return {
    url,
    port,
    token,
    faults: cluster.faults,
    kubeconfig: () => kubeconfig(`https://${address}`, token, identity.certificate.certificate),
    get requestCount() {
      return cluster.server.requestCount
    },
    get watchCount() {
      return cluster.server.watches.size
    },
    stop() {
      stopping ??= (async () => {
        running.stop()
        await cluster.server.stop()
        cluster.store.close()
      })()
      return stopping
    },
  }
}

interface Stoppable {
  stop(): void
}

interface Assembled {
  readonly server: ApiServer
  readonly store: ObjectStore
  readonly faults: Faults
  readonly startControllers: () => Stoppable
}

interface Assembly {
  readonly options: SimulatedClusterOptions
  readonly tokens: readonly SimulatedToken[]
  readonly clock: SimulatedClock
  readonly identity: ClusterIdentity
  readonly listener: Server
}

function assemble({ options, tokens, clock, identity, listener }: Assembly): Assembled {
  const opened = options.dataDir === undefined ? undefined : Journal.open(options.dataDir)
  const store = new ObjectStore(opened?.journal, opened?.entries)
  const cache = new WatchCache(store, clock, options)
  const kinds = new KindRegistry()
  for (const kind of builtInKinds) kinds.serve(kind)
  const writer = new ObjectWriter(store, clock)
  const remover = new ObjectRemover(store, clock)
  const random = seededRandom(options.seed ?? 1)
  const parts = { store, writer, remover, kinds, clock }
  const serverParts = {
    ...parts,
    cache,
    resources: new ResourceHandler({ store, cache, writer, remover, clock }),
    authorizer: new Authorizer(tokens),
    certificate: identity.certificate,
    watch: { bookmarkMs: options.bookmarkMs ?? 60_000, watchList: options.watchList ?? true, random, clock },
    faults: () => faults,
  }
  const server = new ApiServer(serverParts, listener)
  let runner: ControllerRunner | undefined
  const controllersChanged = (): void => runner?.enqueueAll()
  const faults: Faults = createFaults({ store, cache, server, clock, controllersChanged })
  const registrar = new CrdRegistrar(kinds, store, ({ group, plural }) => server.endWatches(group, plural))
  kinds.serve(registrar.kind())
  createNamespaces(store, writer)
  const startControllers = (): Stoppable => {
    const settings = { ...controllerDefaults, ...options.controllers }
    const recorder = new EventRecorder(store, writer, clock)
    const recordEvent: ControllerContext['recordEvent'] = (object, event) => recorder.record(object, event)
    const collector = new GarbageCollector(parts)
    const chosen = settings.enabled ? [...housekeepers, ...controllers] : housekeepers
    const started = new ControllerRunner(chosen, { ...parts, random, options: settings, faults, recordEvent })
    runner = started
    return {
      stop() {
        collector.stop()
        started.stop()
      },
    }
  }
  return { server, store, faults, startControllers }
}

function createFaults(parts: {
  readonly store: ObjectStore
  readonly cache: WatchCache
  readonly server: ApiServer
  readonly clock: SimulatedClock
  readonly controllersChanged: () => void
}): Faults {
  const { store, cache, server, clock, controllersChanged } = parts
  const targets: FaultTargets = {
    watches: () => server.watches,
    dropHistory() {
      // A version further, so that no client's position is the newest one.
      store.skipVersion()
      cache.dropHistory()
    },
    rewind(by) {
      store.rewind(by)
      cache.dropHistory()
    },
    breakConnections: (downMs) => server.breakConnections(downMs),
    controllersChanged,
  }
  return new Faults(targets, clock)
}

function createNamespaces(store: ObjectStore, writer: ObjectWriter): void {
  for (const name of ['default', 'kube-system', 'kube-public']) {
    if (store.get('/namespaces', name) !== undefined) continue
    writer.create(
      namespaceKind,
      '',
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
      { manager: 'simulated' },
    )
  }
}

function kubeconfig(server: string, token: string, certificate: string): string {
  const authority = Buffer.from(certificate).toString('base64')
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'simulated', cluster: { server, 'certificate-authority-data': authority } }],
    users: [{ name: 'simulated', user: { token } }],
    contexts: [{ name: 'simulated', context: { cluster: 'simulated', user: 'simulated', namespace: 'default' } }],
    'current-context': 'simulated',
  })
}
