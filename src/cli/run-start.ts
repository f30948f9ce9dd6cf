import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { CannotStartError } from './cannot-start-error.ts'
import { describeFailure, describeStack } from './describe-failure.ts'
import { keepDevelopmentTokens } from './development-tokens.ts'
import type { DevelopmentTokens } from './development-tokens.ts'
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from './embedded-postgres/start-embedded-postgres.ts'
import type { MetricsOptions } from '../metrics/process-metrics.ts'
import type { PlatformSettings } from '../platform/create-platform.ts'
import { checkCanListen, describeListenError } from './listen-check.ts'
import { openSimulatedCluster } from './open-simulated-cluster.ts'
import type { StartSimulatedCluster } from './open-simulated-cluster.ts'
import { toMetricsOptions, toPlatformSettings } from './platform-settings.ts'
import { describeReady } from './ready-lines.ts'
import type { OidcOptions } from './oidc-options.ts'
import { findSecretKeys } from './secret-key.ts'
import type { Role, StartOptions } from './start-options.ts'

/** What the composition root is given. */
export interface SluiceOptions extends OidcOptions {
  readonly role: Role
  readonly host: string
  readonly port: number
  readonly databaseUrl: string
  readonly poolMax: number
  readonly slots: number
  readonly platformTenant: string
  readonly policyFile?: string
  readonly trustProxy?: readonly string[]
  readonly gitHosts?: readonly string[]
  readonly secretKey?: readonly Buffer[]
  readonly mail?: { readonly url: string; readonly from?: string }
  /** A path. */
  readonly kubeconfig?: string
  readonly inCluster: boolean
  readonly basePaths: readonly string[]
  readonly context: string | undefined
  readonly simulated: boolean
  readonly localClusters: boolean
  readonly devTokens?: DevelopmentTokens
  readonly oneTimeCode?: string
  readonly dataDir: string
  readonly platform: PlatformSettings
  readonly publishEvents?: object
  readonly metrics: MetricsOptions
}

/** What a start is made of; tests bring their own. */
export interface StartParts {
  startPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres>
  readonly startSimulatedCluster: StartSimulatedCluster
  /** The identity provider of `--demo`. */
  startDemo(): Promise<Demo>
  startSluice(options: SluiceOptions): Promise<{ readonly url: string; stop(): Promise<void> }>
  readonly platform: PlatformSettings
  print(text: string): void
  complain(text: string): void
}

export interface Demo {
  readonly issuer: string
  readonly settings: NonNullable<OidcOptions['oidc']>
  /** Names to sign in by. */
  readonly users: readonly string[]
  /** Gives them their roles, once the database has its tables. */
  bindRoles(databaseUrl: string): Promise<void>
  stop(): Promise<void>
}

/**
 * Brings everything up, prints the ready lines, and takes everything down again, in the opposite order, when `stopRequested`
 * aborts. Its reason is a text that says who asked, or the error that makes going on impossible.
 * @returns the exit code
 */
export async function runStart(options: StartOptions, parts: StartParts, stopRequested: AbortSignal): Promise<number> {
  const broken = new AbortController()
  const stop = AbortSignal.any([stopRequested, broken.signal])
  const course: Course = { stops: [], stop, breakOff: (error) => broken.abort(error) }
  let failure: unknown
  try {
    await bringUp(options, parts, course)
    await untilAborted(stop)
  } catch (error) {
    failure = error
  }
  // What fails because of the stop is no news; the reason of the stop may be.
  if (stop.aborted) failure = stop.reason instanceof Error ? stop.reason : undefined
  const complain = (error: unknown) => {
    parts.complain(`${describeFailure(error, options.databaseUrl)}\n${describeStack(error, process.env)}`)
  }
  if (failure !== undefined) complain(failure)
  else parts.print(`\nStopping (${String(stop.reason)}) …\n`)
  for (const stopPart of course.stops.reverse()) {
    await stopPart().catch((error: unknown) => {
      failure ??= error
      complain(error)
    })
  }
  return failure === undefined ? 0 : 1
}

/** From the first part that is up to the moment when all are to go down. */
interface Course {
  /** In the order in which the parts came up. */
  readonly stops: (() => Promise<void>)[]
  readonly stop: AbortSignal
  breakOff(error: Error): void
}

async function bringUp(options: StartOptions, parts: StartParts, course: Course): Promise<void> {
  const serves = options.role !== 'worker'
  if (serves) await checkCanListen(options.host, options.port)
  const { databaseUrl, kubeconfigPath } = await bringUpSurroundings(options, parts, course)
  course.stop.throwIfAborted()

  const demo = options.demo && serves ? await parts.startDemo() : undefined
  if (demo) course.stops.push(() => demo.stop())
  const oidc = demo?.settings ?? options.oidc
  const develops = options.databaseUrl === undefined && options.loopback && serves
  const devTokens = develops ? await keepDevelopmentTokens(options.dataDir) : undefined
  const oneTimeCode = develops ? randomBytes(32).toString('base64url') : undefined
  const { role, host, port, poolMax, slots, dataDir, platformTenant } = options
  const embedded = options.databaseUrl === undefined
  const secretKey = await findSecretKeys({ dataDir, embedded }, process.env['SLUICE_SECRET_KEY'])
  const sluice = await parts
    .startSluice({
      role,
      host,
      port,
      poolMax,
      slots,
      dataDir,
      platformTenant,
      ...(oidc && { oidc }),
      ...(options.publicUrl !== undefined && { publicUrl: options.publicUrl }),
      ...(options.policyFile !== undefined && { policyFile: options.policyFile }),
      ...(options.trustProxy !== undefined && { trustProxy: options.trustProxy }),
      ...(options.gitHosts !== undefined && { gitHosts: options.gitHosts }),
      ...(secretKey !== undefined && { secretKey }),
      ...(options.mail !== undefined && { mail: options.mail }),
      databaseUrl,
      ...(options.events && { publishEvents: {} }),
      metrics: toMetricsOptions(options),
      platform: { ...parts.platform, ...ownObjects(options), ...toPlatformSettings(options) },
      ...(kubeconfigPath !== undefined && { kubeconfig: kubeconfigPath }),
      inCluster: options.inCluster,
      basePaths: options.basePaths,
      context: options.kubeconfig?.context,
      simulated: isSimulated(options),
      localClusters: develops,
      ...(devTokens !== undefined && { devTokens }),
      ...(oneTimeCode !== undefined && { oneTimeCode }),
    })
    .catch((error: unknown) => {
      throw describeListenError(error, host, port) ?? error
    })
  course.stops.push(() => sluice.stop())
  await demo?.bindRoles(databaseUrl)
  course.stop.throwIfAborted()
  parts.print(
    describeReady(options, {
      url: sluice.url,
      oneTimeCode,
      demo,
      kubeconfigPath: isSimulated(options) ? kubeconfigPath : undefined,
      freshName: `demo-${randomBytes(3).toString('hex')}`,
    }),
  )
}

/** Beside the embedded PostgreSQL everything is kept in one folder, large results too. */
function ownObjects({ databaseUrl, dataDir }: StartOptions): PlatformSettings {
  if (databaseUrl !== undefined) return {}
  return { objectStorage: { adapter: 'filesystem', directory: join(dataDir, 'objects') } }
}

interface Surroundings {
  readonly databaseUrl: string
  /** Undefined: the service account of the pod. */
  readonly kubeconfigPath: string | undefined
}

const isSimulated = ({ kubeconfig, inCluster }: StartOptions): boolean => kubeconfig === undefined && !inCluster

/** The database and the cluster, side by side: the first start of each takes its time. */
async function bringUpSurroundings(options: StartOptions, parts: StartParts, course: Course): Promise<Surroundings> {
  const [database, cluster] = await Promise.allSettled([
    openDatabase(options, parts, course),
    openCluster(options, parts, course),
  ])
  // Both have settled here, so that one that is up is taken down again when the other failed.
  if (database.status === 'fulfilled') course.stops.push(() => database.value.stop())
  if (cluster.status === 'fulfilled') course.stops.push(() => cluster.value.stop())
  if (database.status === 'rejected') throw database.reason
  if (cluster.status === 'rejected') throw cluster.reason
  return { databaseUrl: database.value.connectionString, kubeconfigPath: cluster.value.kubeconfigPath }
}

async function openDatabase(
  { databaseUrl, dataDir }: StartOptions,
  parts: StartParts,
  course: Course,
): Promise<Pick<EmbeddedPostgres, 'connectionString' | 'stop'>> {
  if (databaseUrl !== undefined) return { connectionString: databaseUrl, stop: () => Promise.resolve() }
  return parts.startPostgres({
    dataDir,
    signal: course.stop,
    onUnexpectedEnd: (message) => course.breakOff(new CannotStartError(message)),
  })
}

interface OpenedCluster {
  readonly kubeconfigPath: string | undefined
  stop(): Promise<void>
}

async function openCluster(
  { kubeconfig, inCluster, dataDir }: StartOptions,
  parts: StartParts,
  course: Course,
): Promise<OpenedCluster> {
  if (inCluster) return { kubeconfigPath: undefined, stop: () => Promise.resolve() }
  if (kubeconfig !== undefined) return { kubeconfigPath: kubeconfig.path, stop: () => Promise.resolve() }
  return openSimulatedCluster(dataDir, parts.startSimulatedCluster, course.stop)
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
