import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { delimiter, resolve } from 'node:path'
import { type OidcFlags, type OidcOptions, parseOidcOptions } from './oidc-options.ts'
import { parsePlatformChoices, type PlatformChoices, type PlatformFlags } from './platform-settings.ts'
import { UsageError } from './usage-error.ts'

export type Role = 'all' | 'api' | 'worker'

/** The flags of `sluice start` as they were typed. */
export interface StartFlags extends OidcFlags, PlatformFlags {
  readonly port?: string
  readonly host?: string
  readonly data?: string
  readonly role?: string
  readonly kubeconfig?: string
  readonly inCluster?: boolean
  readonly basePath?: readonly string[]
  readonly context?: string
  readonly poolMax?: string
  readonly slots?: string
  readonly policy?: string
  readonly demo?: boolean
}

/** What `sluice start` was asked for, complete and valid. */
export interface StartOptions extends OidcOptions, PlatformChoices {
  readonly role: Role
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** Absolute. */
  readonly dataDir: string
  /** Undefined: the embedded PostgreSQL. */
  readonly databaseUrl: string | undefined
  /** Undefined: the simulated cluster, unless it is the one that this process runs in. */
  readonly kubeconfig: { readonly path: string; readonly context?: string } | undefined
  readonly inCluster: boolean
  /** Templates of the cluster's base paths. */
  readonly basePaths: readonly string[]
  readonly poolMax: number
  readonly slots: number
  /** Absolute path of the policy's YAML. */
  readonly policyFile?: string
  /** Proxies whose `X-Forwarded-For` is believed. */
  readonly trustProxy?: readonly string[]
  /** Hosts of this network that repositories may be on. */
  readonly gitHosts?: readonly string[]
  /** The server that takes e-mail. */
  readonly mail?: { readonly url: string; readonly from?: string }
  /** The tenant of those who run the platform. */
  readonly platformTenant: string
  /** Whether an identity provider with demo users comes along. */
  readonly demo: boolean
  /** Whether only this machine can reach the API. */
  readonly loopback: boolean
}

const roles = ['all', 'api', 'worker'] as const satisfies readonly Role[]

/** The pool never shrinks below this. */
const poolMin = 5
const embeddedPoolMax = 20
/** The embedded PostgreSQL admits 100: the rest is for the listener, a second process and an administrator. */
const embeddedPoolLimit = 80
const poolLimit = 1_000
const slotLimit = 10

/**
 * Flags win over variables, variables over defaults; an empty variable counts as unset.
 * @throws UsageError at the first mistake
 */
export function parseStartOptions(flags: StartFlags, env: NodeJS.ProcessEnv): StartOptions {
  const databaseUrl = parseDatabaseUrl(env['DATABASE_URL'])
  const host = parseHost(flags.host ?? '127.0.0.1')
  const loopback = isLoopback(host)
  const oidc = parseOidcOptions(flags, env, loopback)
  return {
    role: parseRole(flags.role ?? 'all', databaseUrl),
    host,
    loopback,
    demo: parseDemo(flags.demo ?? false, { loopback, embedded: databaseUrl === undefined, oidc }),
    ...oidc,
    port: parsePort(flags.port, env['SLUICE_PORT']),
    dataDir: resolve(filled('--data', flags.data) ?? (env['SLUICE_DATA_DIR'] || '.sluice')),
    databaseUrl,
    ...parseCluster(flags, env['KUBECONFIG']),
    poolMax: parsePoolMax(flags.poolMax, databaseUrl === undefined),
    slots: parseSlots(flags.slots),
    platformTenant: parsePlatformTenant(env['SLUICE_PLATFORM_TENANT'], databaseUrl),
    ...parseMail(env['SLUICE_SMTP_URL'], env['SLUICE_MAIL_FROM']),
    ...parseTrustProxy(env['SLUICE_TRUST_PROXY']),
    ...parseGitHosts(env['SLUICE_GIT_HOSTS']),
    ...parsePolicyFile(flags.policy ?? env['SLUICE_POLICY']),
    ...parsePlatformChoices(flags, env),
  }
}

function parseRole(value: string, databaseUrl: string | undefined): Role {
  const role = roles.find((known) => known === value)
  if (role === undefined) throw new UsageError(`--role must be all, api or worker, not "${value}".`)
  if (role !== 'all' && databaseUrl === undefined) {
    throw new UsageError(
      `--role ${role} needs DATABASE_URL: the embedded PostgreSQL belongs to one process, so API and worker in ` +
        'separate processes could not share it.',
    )
  }
  return role
}

function parseDemo(
  demo: boolean,
  { loopback, embedded, oidc }: { readonly loopback: boolean; readonly embedded: boolean; readonly oidc: OidcOptions },
): boolean {
  if (!demo) return false
  // Whoever reaches its identity provider is whoever they like to be.
  if (!loopback || !embedded) {
    throw new UsageError(
      '--demo lets everybody in without a password: it is for this machine and the embedded PostgreSQL only.',
    )
  }
  if (oidc.oidc) throw new UsageError('--demo brings its own identity provider: leave --oidc-issuer out.')
  return true
}

function parseHost(host: string): string {
  if (!/^[\w.:-]+$/.test(host)) {
    throw new UsageError(`--host must be an address or a host name, such as 127.0.0.1 or 0.0.0.0, not "${host}".`)
  }
  return host
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function parsePort(flag: string | undefined, variable: string | undefined): number {
  const [name, value] = flag === undefined ? ['SLUICE_PORT', variable || '8080'] : ['--port', flag]
  return parseInteger(value, 0, 65_535) ?? fail(`${name} must be a port between 0 and 65535, not "${value}".`)
}

function parseDatabaseUrl(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined
  const protocol = URL.canParse(value) ? new URL(value).protocol : undefined
  if (protocol === 'postgres:' || protocol === 'postgresql:') return value
  // The value may hold a password and is not repeated.
  throw new UsageError('DATABASE_URL must look like postgres://user:password@host:5432/database.')
}

function parseCluster(
  flags: StartFlags,
  variable: string | undefined,
): Pick<StartOptions, 'kubeconfig' | 'inCluster' | 'basePaths'> {
  const inCluster = flags.inCluster ?? false
  if (inCluster && (flags.kubeconfig !== undefined || flags.context !== undefined)) {
    throw new UsageError('--in-cluster takes the cluster that it runs in: leave --kubeconfig and --context out.')
  }
  const kubeconfig = inCluster ? undefined : parseKubeconfig(flags, variable)
  const basePaths = flags.basePath ?? []
  if (basePaths.length > 0 && !inCluster && kubeconfig === undefined) {
    throw new UsageError('--base-path is for a cluster of your own: the simulated one has none.')
  }
  return { kubeconfig, inCluster, basePaths }
}

function parseKubeconfig(flags: StartFlags, variable: string | undefined): StartOptions['kubeconfig'] {
  const [name, path] =
    flags.kubeconfig === undefined
      ? ['KUBECONFIG', variable]
      : ['--kubeconfig', filled('--kubeconfig', flags.kubeconfig)]
  const context = filled('--context', flags.context)
  if (path === undefined || path === '') {
    if (context === undefined) return undefined
    throw new UsageError('--context chooses a context of a kubeconfig: give that with --kubeconfig or KUBECONFIG.')
  }
  // Like kubectl, the variable may name several files, and only one of them needs to exist.
  const paths = name === 'KUBECONFIG' ? path.split(delimiter).filter((part) => part !== '') : [path]
  if (!paths.some((part) => existsSync(part))) {
    throw new UsageError(`${name} names "${path}", and there is no such file.`)
  }
  return { path, ...(context !== undefined && { context }) }
}

function parsePoolMax(value: string | undefined, embedded: boolean): number {
  if (value === undefined) return embedded ? embeddedPoolMax : 50
  const limit = embedded ? embeddedPoolLimit : poolLimit
  const reason = embedded ? ' (the embedded PostgreSQL admits 100 connections in all)' : ''
  return (
    parseInteger(value, poolMin, limit) ??
    fail(`--pool-max must be a number of connections between ${poolMin} and ${limit}${reason}, not "${value}".`)
  )
}

function parseSlots(value: string | undefined): number {
  if (value === undefined) return slotLimit
  return (
    parseInteger(value, 1, slotLimit) ??
    fail(
      `--slots must be between 1 and ${slotLimit}, not "${value}": a worker process runs at most ${slotLimit} tasks at a ` +
        'time (waiting ones hold no slot); start more worker processes on the same DATABASE_URL for more.',
    )
  )
}

function parseMail(url: string | undefined, from: string | undefined): Pick<StartOptions, 'mail'> {
  if (url === undefined || url === '') return {}
  const protocol = URL.canParse(url) ? new URL(url).protocol : undefined
  // The value may hold a password and is not repeated.
  if (protocol !== 'smtp:' && protocol !== 'smtps:')
    fail('SLUICE_SMTP_URL must look like smtp://user:password@host:587.')
  return { mail: { url, ...(from !== undefined && from !== '' && { from }) } }
}

/** With the embedded PostgreSQL one person has the machine, and the one tenant there, to themselves. */
function parsePlatformTenant(value: string | undefined, databaseUrl: string | undefined): string {
  if (value === undefined || value === '') return databaseUrl === undefined ? 'default' : 'platform'
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(value)) return value
  throw new UsageError(
    `SLUICE_PLATFORM_TENANT must be a tenant (lower-case letters, digits and hyphens), not "${value}".`,
  )
}

function parseTrustProxy(value: string | undefined): Pick<StartOptions, 'trustProxy'> {
  if (value === undefined || value === '') return {}
  const trustProxy = value.split(',').map((one) => one.trim())
  const wrong = trustProxy.find((one) => !isNetwork(one))
  if (wrong === undefined) return { trustProxy }
  throw new UsageError(`SLUICE_TRUST_PROXY must list addresses or networks such as 10.0.0.0/8, not "${wrong}".`)
}

function parseGitHosts(value: string | undefined): Pick<StartOptions, 'gitHosts'> {
  if (value === undefined || value === '') return {}
  const gitHosts = value.split(',').map((one) => one.trim().toLowerCase())
  // As it will stand in a URL: nothing but a host, and perhaps a port. There are no patterns.
  const wrong = gitHosts.find((one) => /[*%]/.test(one) || URL.parse(`http://${one}`)?.host !== one)
  if (wrong === undefined) return { gitHosts }
  throw new UsageError(`SLUICE_GIT_HOSTS must list hosts such as git.example.com or 10.0.0.5:3000, not "${wrong}".`)
}

function isNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  return prefix === undefined || parseInteger(prefix, 0, family === 4 ? 32 : 128) !== undefined
}

function parsePolicyFile(path: string | undefined): Pick<StartOptions, 'policyFile'> {
  if (path === undefined || path === '') return {}
  if (!existsSync(path)) throw new UsageError(`--policy (SLUICE_POLICY) names "${path}", and there is no such file.`)
  return { policyFile: resolve(path) }
}

function filled(name: string, value: string | undefined): string | undefined {
  if (value === '') throw new UsageError(`${name} must not be empty.`)
  return value
}

function parseInteger(text: string, min: number, max: number): number | undefined {
  const value = Number(text)
  return /^\d+$/.test(text) && value >= min && value <= max ? value : undefined
}

function fail(message: string): never {
  throw new UsageError(message)
}
