import type { KubeConfig } from '@kubernetes/client-node'
import { readFileSync, statSync } from 'node:fs'
import type { RequestOptions } from 'node:https'
import { delimiter, dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import type { Clock } from './clock.ts'
import { ClusterConfigurationError, UnauthorizedError } from './cluster-errors.ts'
import { isRecord } from './kubernetes-object.ts'
import type { StaticCredentials } from './restricted-kubeconfig.ts'

/** How to reach and convince one API server, at this moment. */
export interface Authentication {
  readonly server: string
  readonly headers: Readonly<Record<string, string>>
  readonly tls: TlsMaterial
  /** An HTTP proxy in front of the API server. */
  readonly proxyUrl: string | undefined
}

export interface TlsMaterial {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
  readonly rejectUnauthorized?: false
}

export interface Credentials {
  /** Fresh enough for a request; `renew` asks for new ones, after a 401. */
  current(options?: { readonly renew?: boolean }): Promise<Authentication>
}

export type CredentialSource =
  | { readonly kind: 'static'; readonly credentials: StaticCredentials }
  /** A path (or several, as in `KUBECONFIG`), or the YAML itself. */
  | { readonly kind: 'kubeconfig'; readonly kubeconfig: string; readonly context: string | undefined }
  /** `root` stands before the paths of the service account: for tests. */
  | { readonly kind: 'in-cluster'; readonly root?: string }

// Tokens in files are rotated by the kubelet at 80 % of their life; client-go re-reads them every minute too.
const freshForMs = 10_000

export function createCredentials(source: CredentialSource, clock: Clock): Credentials {
  if (source.kind === 'static') {
    const authentication = fromStatic(source.credentials)
    return { current: () => Promise.resolve(authentication) }
  }
  return createConfigured(source, clock)
}

function fromStatic({ server, ca, token, certificate, key }: StaticCredentials): Authentication {
  return {
    server,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    tls: {
      ...(ca !== undefined && { ca }),
      ...(certificate !== undefined && key !== undefined && { cert: certificate, key }),
    },
    proxyUrl: undefined,
  }
}

type ConfiguredSource = Exclude<CredentialSource, { kind: 'static' }>

function createConfigured(source: ConfiguredSource, clock: Clock): Credentials {
  let config: { readonly kubeConfig: KubeConfig; readonly stamp: string } | undefined
  let last: { readonly authentication: Authentication; readonly at: number } | undefined
  let pending: Promise<Authentication> | undefined

  async function authenticate(renew: boolean): Promise<Authentication> {
    const stamp = stampOf(source)
    // A new KubeConfig also forgets what an exec plug-in answered: after a 401 that answer is worth nothing.
    if (!config || renew || config.stamp !== stamp) {
      const previous = config
      config = await loadKubeConfig(source).then(
        (kubeConfig) => ({ kubeConfig, stamp }),
        (error: unknown) => {
          // A file caught while it is being rewritten: what we have is better than nothing, and we look again.
          if (previous) return previous
          throw error
        },
      )
    }
    const authentication = await readAuthentication(config.kubeConfig)
    last = { authentication, at: clock.now() }
    return authentication
  }

  return {
    current({ renew = false } = {}) {
      if (last && !renew && clock.now() - last.at < freshForMs) return Promise.resolve(last.authentication)
      // Single flight: a hundred watches that meet one expired token ask the plug-in once.
      pending ??= authenticate(renew).finally(() => {
        pending = undefined
      })
      return pending
    },
  }
}

/** `@kubernetes/client-node` is imported here only, and late: it costs 60 MB and most of a second. */
const importClientLibrary = () => import('@kubernetes/client-node')

/** Spares the first change that most of a second, where one is to be expected. Whoever needs the library meets the error. */
export async function preloadClientLibrary(): Promise<void> {
  await importClientLibrary().catch(() => undefined)
}

async function loadKubeConfig(source: ConfiguredSource): Promise<KubeConfig> {
  const { KubeConfig } = await importClientLibrary()
  const kubeConfig = new KubeConfig()
  try {
    if (source.kind === 'in-cluster') loadServiceAccount(kubeConfig, source.root ?? '')
    else loadSources(source.kubeconfig, kubeConfig, KubeConfig)
  } catch (cause) {
    throw new ClusterConfigurationError(`The kubeconfig cannot be read: ${messageOf(cause)}`, { cause })
  }
  if (source.kind === 'kubeconfig' && source.context !== undefined) kubeConfig.setCurrentContext(source.context)
  const cluster = kubeConfig.getCurrentCluster()
  if (!cluster) {
    const contexts = kubeConfig.getContexts().map(({ name }) => name)
    throw new ClusterConfigurationError(
      `The kubeconfig has no usable context "${kubeConfig.getCurrentContext()}". It has: ${contexts.join(', ') || 'none'}.`,
    )
  }
  // client-node refuses plain HTTP unless TLS verification is off. There is no TLS here whose verification could be off.
  if (cluster.server.startsWith('http:')) Object.assign(cluster, { skipTLSVerify: true })
  return kubeConfig
}

// client-node makes `https://undefined:undefined` of a missing environment.
function loadServiceAccount(into: KubeConfig, root: string): void {
  if (!process.env['KUBERNETES_SERVICE_HOST'] || !process.env['KUBERNETES_SERVICE_PORT']) {
    throw new Error('KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod of a cluster')
  }
  into.loadFromCluster(root)
}

function loadSources(kubeconfig: string, into: KubeConfig, Config: new () => KubeConfig): void {
  if (isInline(kubeconfig)) {
    into.loadFromString(kubeconfig)
    completeUsers(into, kubeconfig, process.cwd())
    return
  }
  const paths = pathsOf(kubeconfig)
  if (paths.length === 0) throw new Error('its path is empty')
  for (const [index, path] of paths.entries()) {
    const one = index === 0 ? into : new Config()
    one.loadFromFile(path)
    completeUsers(one, readFileSync(path, 'utf8'), dirname(path))
    if (one !== into) into.mergeConfig(one, true)
  }
}

// client-node overlooks some fields of a user. One that it can act on is added, others must not be dropped silently.
const unsupportedUserFields = ['as-groups', 'as-uid', 'as-user-extra']

function completeUsers(config: KubeConfig, text: string, folder: string): void {
  const document: unknown = parse(text)
  const entries = isRecord(document) && Array.isArray(document['users']) ? document['users'].filter(isRecord) : []
  for (const { name, user } of entries) {
    if (!isRecord(user)) continue
    const unsupported = unsupportedUserFields.find((field) => user[field] !== undefined)
    if (unsupported !== undefined) throw new Error(`user "${String(name)}" has ${unsupported}, which is not supported`)
    const { tokenFile } = user
    const known = config.users.find((each) => each.name === name)
    if (typeof tokenFile !== 'string' || !known) continue
    // As kubectl: the file comes before a token, and lies beside the kubeconfig.
    const authProvider = { name: 'tokenFile', config: { tokenFile: resolve(folder, tokenFile) } }
    Object.assign(known, { authProvider, token: undefined })
  }
}

const isInline = (kubeconfig: string): boolean => kubeconfig.includes('\n') || kubeconfig.startsWith('{')
const pathsOf = (kubeconfig: string): string[] => kubeconfig.split(delimiter).filter(Boolean)

/** Changes when a file of the configuration was written. */
function stampOf(source: ConfiguredSource): string {
  if (source.kind === 'in-cluster' || isInline(source.kubeconfig)) return ''
  return pathsOf(source.kubeconfig)
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false })
      return `${stat?.mtimeMs}:${stat?.size}:${stat?.ino}`
    })
    .join()
}

async function readAuthentication(kubeConfig: KubeConfig): Promise<Authentication> {
  const cluster = kubeConfig.getCurrentCluster()
  const user = kubeConfig.getCurrentUser()
  if (!cluster) throw new ClusterConfigurationError('The kubeconfig has no current cluster.')
  const options: RequestOptions = {}
  try {
    await kubeConfig.applyToHTTPSOptions(options)
    // client-node reads the CA only together with a user; a cluster may have no user.
    if (!user && cluster.caData) options.ca = Buffer.from(cluster.caData, 'base64')
    if (!user && cluster.caFile) options.ca = readFileSync(cluster.caFile)
  } catch (cause) {
    // Retryable: a credential plug-in asks a server of its own, and a mounted file may be replaced at this moment.
    throw new UnauthorizedError(`The credentials cannot be obtained: ${messageOf(cause)}`, { cause })
  }
  return {
    server: cluster.server.replace(/\/+$/, ''),
    headers: headersOf(options),
    tls: tlsOf(options),
    proxyUrl: cluster.proxyUrl,
  }
}

function headersOf(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    // A token read from a file may end in a newline, which is no header value.
    if (value !== undefined) headers[name.toLowerCase()] = String(value).trim()
  }
  if (options.auth) headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`
  return headers
}

function tlsOf(options: RequestOptions): TlsMaterial {
  const ca = pemOf(options.ca)
  const cert = pemOf(options.cert)
  const key = pemOf(options.key)
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(options.servername !== undefined && { servername: options.servername }),
    ...(options.rejectUnauthorized === false && { rejectUnauthorized: false }),
  }
}

// client-node gives a Buffer (from data or file) or a string (from an exec plug-in).
function pemOf(value: unknown): string | undefined {
  return Buffer.isBuffer(value) ? value.toString('utf8') : typeof value === 'string' ? value : undefined
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
