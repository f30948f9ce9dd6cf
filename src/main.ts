import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { fileURLToPath } from 'node:url'
import { createPolicyStore } from './approvals/policy-store.ts'
import { createDatabase, type Database } from './database/database.ts'
import { pendingMigrations } from './database/run-migrations.ts'
import { createSignalListener, createSignalSender } from './database/signals.ts'
import { type App, createApp } from './http/app.ts'
import type { RequestLimitsOptions } from './http/request-limits.ts'
import { createDatabaseIdentity } from './identity/database-identity.ts'
import { createDevelopmentIdentity, type DevelopmentPrincipal } from './identity/development-identity.ts'
import type { Federation } from './identity/oidc/federation.ts'
import type { OidcSettings } from './identity/oidc/oidc-settings.ts'
import type { Identity } from './identity/principal.ts'
import { connectClusters } from './kubernetes/clusters.ts'
import { preloadClientLibrary } from './kubernetes/credentials.ts'
import { createDiagnoser } from './kubernetes/diagnose.ts'
import { createWatchHub } from './kubernetes/watch-hub.ts'
import { createEventPublisher, type EventPublisher } from './live/publish-events.ts'
import { createFeed } from './live/feed.ts'
import type { Instruments } from './metrics/instruments.ts'
import type { MetricSources } from './metrics/observe.ts'
import { createProcessMetrics, type MetricsOptions } from './metrics/process-metrics.ts'
import { createMailer, type MailerOptions } from './notifications/mailer.ts'
import { createSecretBox } from './platform/secret-box.ts'
import type { Operation } from './operations/define-operation.ts'
import { createAnalysis } from './operations/analysis/analysis-create.ts'
import { builtInOperations, createOperationRegistry } from './operations/registry.ts'
import { createPlatform, type PlatformSettings } from './platform/create-platform.ts'
import { allowLogFields } from './platform/allow-log-fields.ts'
import type { Logger } from './platform/logger.ts'
import { productVersion } from './platform/product-version.ts'
import { migrate } from './queue/migrate.ts'
import { createPgBossQueue } from './queue/pg-boss-queue.ts'
import { createTaskAcceptor } from './tasks/accept-task.ts'
import { createClusterRegistry } from './tasks/cluster-registry.ts'
import { createGate } from './tasks/gate.ts'
import { createTaskExport } from './tasks/export-tasks.ts'
import { createResultStore } from './tasks/result-store.ts'
import { createPlaces } from './tasks/places.ts'
import { createTicketUpkeep } from './tasks/reevaluate-tickets.ts'
import { createPresence } from './worker/heartbeat.ts'
import { createWorker, type Worker } from './worker/worker.ts'

export interface StartOptions {
  /** api: HTTP and the feed · worker: jobs and watches · all: both. @default 'all' */
  readonly role?: 'all' | 'api' | 'worker'
  /** @default '127.0.0.1' */
  readonly host?: string
  /** 0 takes a free one. @default 8080 */
  readonly port?: number
  readonly databaseUrl: string
  /** Most connections in the pool. @default 50 */
  readonly poolMax?: number
  /** Worker slots, 1 to 10. @default 10 */
  readonly slots?: number
  /** The cluster called `default`: path of a kubeconfig, or its YAML. */
  readonly kubeconfig?: string
  readonly context?: string | undefined
  /** That cluster is the one that this process runs in, by the service account of its pod. */
  readonly inCluster?: boolean
  /** Of that cluster: templates such as `/apis/…/organizations/{org}/control-plane`. @default none */
  readonly basePaths?: readonly string[]
  /** Whether that cluster is the simulated one. */
  readonly simulated?: boolean
  /** Whether clusters that come over the API may be on this machine: for development. @default false */
  readonly localClusters?: boolean
  /** Development principals: for embedded mode on loopback only. */
  readonly devTokens?: Readonly<Record<DevelopmentPrincipal, string>>
  readonly oneTimeCode?: string
  /** The OpenID Connect provider whose people and programs are let in. @default none */
  readonly oidc?: OidcSettings
  /** Where browsers find this server: the provider sends them back there. @default where it listens */
  readonly publicUrl?: string
  /** The tenant of those who run the platform: what they set holds for every tenant. @default 'platform' */
  readonly platformTenant?: string
  readonly operations?: readonly Operation[]
  /**
   * Hosts of this network that `analysis.create` may fetch from, also over http: `git.corp.example`, `10.0.0.5:3000`.
   * @default none: only what is on the open internet, by https
   */
  readonly gitHosts?: readonly string[]
  /** YAML file of the policy, read again when it changes. Without one the last policy of the database holds. */
  readonly policyFile?: string
  /**
   * 32 bytes each: the first seals the secrets of webhooks, clusters and inputs, all of them open. The same for all
   * processes of a database; without it there are none.
   */
  readonly secretKey?: Buffer | readonly Buffer[]
  /** The server that takes e-mail: `smtp://user:password@host:587`, and who writes. */
  readonly mail?: MailerOptions
  /** Requests per second and caller in this process; see `RequestLimitsOptions` for the defaults. */
  readonly requestLimits?: RequestLimitsOptions
  /** Proxies (addresses, or networks as CIDR) whose `X-Forwarded-For` is believed. @default none */
  readonly trustProxy?: readonly string[]
  /** What stands behind the platform services. The database is this process's own pool, shared with everything else. */
  readonly platform?: PlatformSettings
  /** Who reads metrics. @default nobody */
  readonly metrics?: MetricsOptions
  /** Publishes every event of the log for other programs, over `platform.pubsub`. @default not at all */
  readonly publishEvents?: {
    /** @default 'sluice.events' */
    readonly topic?: string
    /** Milliseconds after which another process takes over from one that died. @default 15_000 */
    readonly leaseMs?: number
  }
  /** Where log lines go, in place of `platform.logger`. */
  readonly logger?: Logger
}

export interface RunningSluice {
  /** Where the API answers; empty in a process that is a worker only. */
  readonly url: string
  /** Where Prometheus reads metrics; empty where it does not. */
  readonly metricsUrl: string
  /** Ends in order: takes no more requests and jobs, drains the worker (30 s at most), closes the pool. */
  stop(): Promise<void>
}

const consoleDir = fileURLToPath(new URL('../dist/web', import.meta.url))

/**
 * The composition root: config → adapters → all | api | worker. The API answers `/readyz` before the migrations have
 * run, and says so.
 */
export async function startSluice(options: StartOptions): Promise<RunningSluice> {
  const role = options.role ?? 'all'
  const base = openPlatform(options)
  const metrics = await createProcessMetrics(options.metrics ?? {}, base.logger)
  const parts = assemble(options, base, metrics.instruments)
  const { platform, logger, database, queue, signals, listener, feed, clusters, hub } = parts
  const diagnose = createDiagnoser()
  const cluster = (tenant: string, name: string) => clusters.get(clusters.keyFor(tenant, name))
  let phase: 'migrating' | 'starting' | 'ready' | 'stopping' = 'migrating'
  // Loaded only where there is a provider.
  const federation =
    options.oidc && (await import('./identity/oidc/federation.ts')).createFederation(options.oidc, parts)
  const identity = createIdentity(options, parts, federation)
  let url = ''
  const services = {
    ...parts,
    identity,
    ...(federation?.login && { login: { ...federation.login, publicUrl: () => options.publicUrl ?? url } }),
    cluster,
    clusterKey: clusters.keyFor,
    clusterNames: clusters.namesFor,
    isSharedCluster: clusters.isShared,
    ready: () => phase === 'ready',
    notReady: () => whyNotReady(phase, database),
  }
  const app =
    role === 'worker'
      ? undefined
      : await createApp({
          services,
          ...(existsSync(consoleDir) && { consoleDir }),
          ...(options.requestLimits && { requestLimits: options.requestLimits }),
          ...(options.trustProxy && { trustProxy: options.trustProxy }),
        })
  const workerId = `${hostname()}/${process.pid}/${randomBytes(3).toString('hex')}`
  const presence =
    role === 'api'
      ? createPresence(database, logger, { workerId, version: productVersion, host: hostname(), pid: process.pid })
      : undefined
  const worker =
    role === 'api'
      ? undefined
      : createWorker({
          ...parts,
          role: role === 'all' ? 'all' : 'worker',
          version: productVersion,
          workerId,
          cluster,
          findOwner: identity.find,
          clusterKey: clusters.keyFor,
          expectCluster: parts.clusterRegistry.expect,
          diagnose: (wait, object, signal) =>
            diagnose(cluster(wait.tenant, wait.cluster), object, { signal, basePath: wait.basePath }),
          ...(options.slots !== undefined && { slots: options.slots }),
        })

  const publisher = role === 'api' ? undefined : createPublisher(options, parts, workerId)
  const upkeep = createTicketUpkeep({ ...parts, active: parts.policies.active })
  const stop = async (): Promise<void> => {
    phase = 'stopping'
    // Streams first: a reader that never hangs up would hold the server open.
    await feed.stop()
    await app?.close()
    await worker?.stop()
    await publisher?.stop()
    await presence?.stop()
    parts.mailer?.stop()
    await upkeep.stop()
    await parts.policies.stop()
    await parts.clusterRegistry.stop()
    await hub.stop()
    await clusters.stop()
    await signals.stop()
    await listener.stop()
    await identity.stop()
    await queue.stop()
    await metrics.stop()
    await platform.stop()
    await database.stop()
  }
  try {
    if (app) url = await listen(app, options)
    await migrate(options.databaseUrl)
    phase = 'starting'
    await platform.start()
    // A worker asks it when it fires a schedule.
    await parts.policies.start()
    await listener.start()
    await queue.start()
    await parts.clusterRegistry.start()
    if (app) {
      await identity.start()
      await feed.start()
      upkeep.start()
    }
    await worker?.start()
    await publisher?.start()
    await presence?.start()
    const metricsUrl = await metrics.start(metricSources(parts, { worker, publisher }))
    phase = 'ready'
    // Behind whatever says that we are ready.
    if (worker && hasCluster(options)) setImmediate(() => void preloadClientLibrary())
    let stopped: Promise<void> | undefined
    return { url, metricsUrl, stop: () => (stopped ??= stop()) }
  } catch (error) {
    await stop().catch((second: unknown) => logger.warn('stopping after a failed start failed too', { error: second }))
    throw error
  }
}

const hasCluster = ({ kubeconfig, inCluster }: StartOptions): boolean => kubeconfig !== undefined || inCluster === true

function metricSources(
  { queue, hub, database: { pool } }: ReturnType<typeof assemble>,
  { worker, publisher }: { readonly worker: Worker | undefined; readonly publisher: EventPublisher | undefined },
): MetricSources {
  return {
    queue: queue.gauges,
    watch: hub.stats,
    pool: () => ({ used: pool.totalCount - pool.idleCount, idle: pool.idleCount, pending: pool.waitingCount }),
    worker: worker && (() => ({ running: worker.running, waits: worker.waits.size })),
    unpublished: publisher && (() => publisher.behind),
  }
}

function createPublisher(
  { publishEvents }: StartOptions,
  { database, listener, platform, logger }: ReturnType<typeof assemble>,
  holder: string,
): EventPublisher | undefined {
  if (!publishEvents) return undefined
  const { pubsub } = platform
  return createEventPublisher({ ...publishEvents, pool: database.pool, listener, pubsub, logger, holder })
}

function createIdentity(
  { devTokens: tokens, oneTimeCode, platformTenant = 'platform' }: StartOptions,
  { database, logger }: { readonly database: Database; readonly logger: Logger },
  federation: Federation | undefined,
): Identity {
  const { issuer, verifyForeign } = federation ?? {}
  const base = {
    database,
    logger,
    platformTenant,
    ...(issuer !== undefined && { issuer }),
    ...(verifyForeign && { verifyForeign }),
  }
  if (!tokens) return createDatabaseIdentity(base)
  return createDevelopmentIdentity({ ...base, tokens, ...(oneTimeCode !== undefined && { oneTimeCode }) })
}

function openPlatform(options: StartOptions) {
  const database = createDatabase({
    url: options.databaseUrl,
    poolMax: options.poolMax ?? 50,
    onConnectionError: (error) => logger.warn('an idle database connection broke', { error }),
  })
  const platform = createPlatform({
    ...options.platform,
    ...(options.logger && { logger: { adapter: 'own' as const, service: options.logger } }),
    db: { adapter: 'postgres', pool: database.pool },
  })
  const logger = allowLogFields(platform.logger)
  return { database, platform, logger }
}

function assemble(
  options: StartOptions,
  { database, platform, logger }: ReturnType<typeof openPlatform>,
  instruments: Instruments,
) {
  const { tracer, featureFlags, cache, objectStorage } = platform
  const queue = createPgBossQueue({
    database,
    supervise: options.role !== 'api',
    onError: (error) => logger.warn('the queue engine reports an error', { error }),
  })
  const onSignalError = (error: Error) => logger.warn('signals are interrupted; polling goes on', { error })
  const listener = createSignalListener({ url: options.databaseUrl, onError: onSignalError })
  const signals = createSignalSender(database.pool, onSignalError, listener)
  const clusters = connectClusters(
    !hasCluster(options)
      ? []
      : [
          {
            name: 'default',
            ...(options.kubeconfig === undefined ? { inCluster: true } : { kubeconfig: options.kubeconfig }),
            context: options.context,
            simulated: options.simulated ?? false,
            basePath: options.basePaths ?? [],
          },
        ],
    { tracer },
  )
  const policies = createPolicyStore({
    database,
    logger,
    platformTenant: options.platformTenant ?? 'platform',
    ...(options.policyFile !== undefined && { file: options.policyFile }),
  })
  const gate = createGate({ active: policies.active })
  const places = createPlaces(clusters)
  const secrets = options.secretKey && createSecretBox(options.secretKey)
  return {
    platform,
    logger,
    tracer,
    instruments,
    featureFlags,
    cache,
    objectStorage,
    database,
    queue,
    policies,
    secrets,
    mails: options.mail !== undefined,
    mailer: options.mail && createMailer(options.mail),
    signals,
    listener,
    clusters,
    clusterRegistry: createClusterRegistry({
      database,
      listener,
      clusters,
      secrets,
      logger,
      role: options.role === 'worker' ? 'sluice_worker' : 'sluice_api',
      refuse: options.localClusters === true ? 'link-local' : 'local',
    }),
    hub: createWatchHub({ cluster: clusters.get, logger }),
    feed: createFeed({ pool: database.pool, listener, logger, instruments }),
    gate,
    places,
    acceptor: createTaskAcceptor({
      database,
      queue,
      signals,
      gate,
      places,
      tracer,
      instruments,
      featureFlags,
      secrets,
    }),
    results: options.platform?.objectStorage && createResultStore({ database, storage: objectStorage, logger }),
    operations: createOperationRegistry([
      ...builtInOperations,
      createTaskExport({ database }),
      createAnalysis({ cache, hosts: options.gitHosts }),
      ...(options.operations ?? []),
    ]),
  }
}

async function whyNotReady(phase: string, database: Database): Promise<readonly string[]> {
  if (phase === 'stopping') return ['Sluice is shutting down.']
  try {
    const pending = await pendingMigrations((text) => database.pool.query(text))
    if (pending.length > 0) return [`The database is being migrated (${pending.length} to go, first ${pending[0]}).`]
  } catch (error) {
    return [`PostgreSQL cannot be reached: ${error instanceof Error ? error.message : String(error)}.`]
  }
  return phase === 'ready' ? [] : ['Sluice is starting.']
}

function listen(app: App, options: StartOptions): Promise<string> {
  return app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 8080 })
}
