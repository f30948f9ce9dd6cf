import type { Command } from 'commander'
import { logLevels, type LogLevel } from '../platform/logger.ts'
import { startEmbeddedPostgres } from './embedded-postgres/start-embedded-postgres.ts'
import { runStart } from './run-start.ts'
import type { StartParts } from './run-start.ts'
import { parseStartOptions } from './start-options.ts'
import type { StartFlags, StartOptions } from './start-options.ts'
import { collectStopRequests } from './stop-requests.ts'
import { UsageError } from './usage-error.ts'

const afterHelp = `
Variables:
  DATABASE_URL     a PostgreSQL 14 or newer to use instead of the embedded one
  KUBECONFIG       a cluster to use instead of the simulated one
  SLUICE_PORT      as --port
  SLUICE_DATA_DIR  as --data
  SLUICE_POLICY    as --policy
  SLUICE_EVENTS    as --events
  SLUICE_METRICS_PORT, SLUICE_METRICS_HOST  as --metrics-port and --metrics-host
  SLUICE_FLAGS     as --flags
  SLUICE_OBJECTS   as --objects; s3://bucket/prefix?endpoint=https://…&region=… for other servers than Amazon's
  SLUICE_PLATFORM_TENANT  tenant whose operators may limit and pause every tenant (default: platform; embedded: default)
  SLUICE_TRUST_PROXY proxies before the API (addresses, networks): their X-Forwarded-For says where requests come from
  SLUICE_GIT_HOSTS hosts of this network that repositories may be analysed on, also over http (git.corp, 10.0.0.5:3000)
  SLUICE_SMTP_URL  server that takes e-mail, smtp://user:password@host:587; SLUICE_MAIL_FROM says who writes
  SLUICE_SECRET_KEY 32 bytes in base64: seals secrets in the database (embedded PostgreSQL: kept in --data); to replace
                   it put the new one before it (new,old) and run "sluice secrets rotate"
  OTEL_EXPORTER_OTLP_ENDPOINT  collector that takes traces and metrics over OTLP/HTTP, such as http://collector:4318;
                   OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER_ARG as OpenTelemetry says
  SLUICE_OIDC_ISSUER, SLUICE_OIDC_CLIENT_ID, SLUICE_OIDC_AUDIENCE, SLUICE_PUBLIC_URL  as the flags
  SLUICE_OIDC_CLIENT_SECRET     the client's secret
  SLUICE_OIDC_SCOPES            what is asked for at the login (default: openid profile email)
  SLUICE_OIDC_PRINCIPAL_CLAIM   the claim that is a principal's name (default: sub); SLUICE_OIDC_PRINCIPAL_PREFIX stands before it
  SLUICE_OIDC_GROUPS_CLAIM      the claim that lists groups (default: groups)
  SLUICE_OIDC_TENANT_CLAIM      the claim that lists the tenants to act in (default: wherever there is a role)
  SLUICE_OIDC_ALGORITHMS        signatures that are believed (default: RS256 PS256 ES256 EdDSA)
  SLUICE_LOG_LEVEL debug, info, warn or error (default: info; embedded PostgreSQL: warn)
  SLUICE_DEBUG=1   shows the stack of a failure
`

/** @param end called with the exit code when everything is stopped */
export function addStartCommand(program: Command, end: (exitCode: number) => void): void {
  program
    .command('start')
    .description('start Sluice: API, worker and console, with a PostgreSQL and a simulated cluster where none is given')
    .option('--port <port>', 'port of the API and the console (default: 8080)')
    .option('--host <host>', 'address to listen on (default: 127.0.0.1)')
    .option('--data <folder>', 'folder for everything that is kept (default: .sluice)')
    .option('--role <role>', 'all, api or worker (default: all)')
    .option('--kubeconfig <file>', 'cluster to use instead of the simulated one')
    .option('--context <name>', 'context of the kubeconfig')
    .option('--in-cluster', 'use the cluster that this runs in, by the service account of its pod')
    .option(
      '--base-path <template...>',
      'paths of control planes behind the cluster, such as /apis/…/organizations/{org}',
    )
    .option('--pool-max <connections>', 'size of the connection pool (default: 50; embedded PostgreSQL: 20)')
    .option('--policy <file>', 'approval policy in YAML, read again when it changes')
    .option(
      '--objects <where>',
      'folder or s3://bucket for results above 64 KiB and exports (embedded PostgreSQL: in --data)',
    )
    .option('--events <where>', 'publish the log for other programs: postgres, nats://host:4222 or redis://host:6379')
    .option('--flags <file>', 'feature flags in the format of flagd, read again when it changes')
    .option('--oidc-issuer <url>', 'OpenID Connect provider whose people and programs are let in')
    .option('--oidc-client-id <id>', 'Sluice’s client there: people sign in to the console')
    .option('--oidc-audience <audience>', 'what its JWTs must be made for to be let in by the API')
    .option('--public-url <url>', 'where browsers find Sluice, https://…: the provider sends them back there')
    .option('--demo', 'bring an identity provider with demo users along (this machine only)')
    .option('--metrics-port <port>', 'serve GET /metrics for Prometheus on a port of its own (default: not at all)')
    .option('--metrics-host <host>', 'address for that (default: 127.0.0.1)')
    .option('--slots <slots>', 'tasks that this worker runs at a time, 1 to 10 (default: 10)')
    .addHelpText('after', afterHelp)
    .action(async (flags: StartFlags) => end(await start(flags)))
}

async function start(flags: StartFlags): Promise<number> {
  const options = parseStartOptions(flags, process.env)
  const level = parseLogLevel(process.env['SLUICE_LOG_LEVEL'], options)
  ignoreClosedOutput()
  // Begun now, so that reading the modules and the start of PostgreSQL, which take equally long, go side by side.
  for (const module of [loadSluice(), loadSimulatedCluster()]) module.catch(() => undefined)
  const requests = collectStopRequests((exitCode) => process.exit(exitCode))
  try {
    return await runStart(
      options,
      { ...parts, platform: { logger: { adapter: 'pino', level, destination: process.stderr } } },
      requests.signal,
    )
  } finally {
    requests.dispose()
  }
}

/** On a person's own machine the terminal stays quiet; beside a database that is not ours the lines go to whoever collects them. */
function parseLogLevel(value: string | undefined, options: StartOptions): LogLevel {
  if (value === undefined || value === '') return options.databaseUrl === undefined ? 'warn' : 'info'
  const level = logLevels.find((known) => known === value)
  if (level === undefined) throw new UsageError(`SLUICE_LOG_LEVEL must be ${logLevels.join(', ')}, not "${value}".`)
  return level
}

/** A terminal that is closed, or a reader that has seen enough, must not cut an orderly stop short. */
function ignoreClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    stream.on('error', () => undefined)
  }
}

const loadSluice = () => import('../main.ts')
const loadSimulatedCluster = () => import('../kubernetes/simulated/simulated-cluster.ts')

const parts: Omit<StartParts, 'platform'> = {
  startPostgres: startEmbeddedPostgres,
  async startSimulatedCluster(options) {
    const { startSimulatedCluster } = await loadSimulatedCluster()
    return startSimulatedCluster(options)
  },
  async startDemo() {
    const [{ startDemoProvider }, { bindDemoRoles }, { demoUsers }] = await Promise.all([
      import('./demo/demo-provider.ts'),
      import('./demo/bind-demo-roles.ts'),
      import('./demo/demo-users.ts'),
    ])
    const provider = await startDemoProvider()
    return { ...provider, users: demoUsers.map(({ name }) => name), bindRoles: bindDemoRoles }
  },
  async startSluice(options) {
    const { startSluice } = await loadSluice()
    return startSluice(options)
  },
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
}
