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
  SLUICE_FLAGS     as --flags
  SLUICE_PLATFORM_TENANT  tenant whose operators may limit and pause every tenant (default: platform; embedded: default)
  SLUICE_TRUST_PROXY proxies before the API (addresses, networks): their X-Forwarded-For says where requests come from
  SLUICE_SMTP_URL  server that takes e-mail, smtp://user:password@host:587; SLUICE_MAIL_FROM says who writes
  SLUICE_SECRET_KEY 32 bytes in base64: seals the secrets of webhooks and clusters (embedded PostgreSQL: kept in --data)
  OTEL_EXPORTER_OTLP_ENDPOINT  collector that takes traces and metrics over OTLP/HTTP, such as http://collector:4318;
                   OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER_ARG as OpenTelemetry says
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
    .option('--pool-max <connections>', 'size of the connection pool (default: 50; embedded PostgreSQL: 20)')
    .option('--policy <file>', 'approval policy in YAML, read again when it changes')
    .option('--flags <file>', 'feature flags in the format of flagd, read again when it changes')
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
  async startSluice(options) {
    const { startSluice } = await loadSluice()
    return startSluice(options)
  },
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
}
