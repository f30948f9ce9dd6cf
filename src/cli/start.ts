import type { Command } from 'commander'
import { startEmbeddedPostgres } from './embedded-postgres/start-embedded-postgres.ts'
import { runStart } from './run-start.ts'
import type { StartParts } from './run-start.ts'
import { parseStartOptions } from './start-options.ts'
import type { StartFlags } from './start-options.ts'
import { collectStopRequests } from './stop-requests.ts'

const afterHelp = `
Variables:
  DATABASE_URL     a PostgreSQL 14 or newer to use instead of the embedded one
  KUBECONFIG       a cluster to use instead of the simulated one
  SLUICE_PORT      as --port
  SLUICE_DATA_DIR  as --data
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
    .option('--slots <slots>', 'tasks that this worker runs at a time, 1 to 10 (default: 10)')
    .addHelpText('after', afterHelp)
    .action(async (flags: StartFlags) => end(await start(flags)))
}

async function start(flags: StartFlags): Promise<number> {
  const options = parseStartOptions(flags, process.env)
  const requests = collectStopRequests((exitCode) => process.exit(exitCode))
  try {
    return await runStart(options, parts, requests.signal)
  } finally {
    requests.dispose()
  }
}

// Loaded while PostgreSQL comes up: reading the modules takes as long as that.
const parts: StartParts = {
  startPostgres: startEmbeddedPostgres,
  async startSimulatedCluster(options) {
    const { startSimulatedCluster } = await import('../kubernetes/simulated/simulated-cluster.ts')
    return startSimulatedCluster(options)
  },
  async startSluice(options) {
    const { startSluice } = await import('../main.ts')
    return startSluice(options)
  },
  print: (text) => process.stdout.write(text),
  complain: (text) => process.stderr.write(text),
}
