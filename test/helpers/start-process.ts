// A process for the tests of `sluice start`: a real PostgreSQL, and stand-ins for the cluster and for Sluice itself.
// Takes the flags of `sluice start`. STAND_IN chooses how the stand-in behaves.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { Client } from 'pg'
import { startEmbeddedPostgres } from '../../src/cli/embedded-postgres/start-embedded-postgres.ts'
import { runStart, type SluiceOptions } from '../../src/cli/run-start.ts'
import { parseStartOptions } from '../../src/cli/start-options.ts'
import { collectStopRequests } from '../../src/cli/stop-requests.ts'

const standIn = process.env['STAND_IN']
const say = (text: string) => void process.stdout.write(text)
const { values } = parseArgs({ options: { port: { type: 'string' }, data: { type: 'string' } } })
const requests = collectStopRequests((exitCode) => process.exit(exitCode))

const exitCode = await runStart(
  parseStartOptions(values, {}),
  {
    startPostgres: (options) => startEmbeddedPostgres({ ...options, settings: { fsync: 'off' } }),
    startSimulatedCluster: async () => ({
      kubeconfig: () => '',
      stop: async () => say('the cluster has stopped\n'),
    }),
    startDemo: () => Promise.reject(new Error('there is no demo here')),
    startSluice,
    platform: {},
    print: say,
    complain: (text) => process.stderr.write(text),
  },
  requests.signal,
)
process.exit(exitCode)

/** Listens as asked, and counts its starts in the database, so that a test sees whether data survived. */
async function startSluice({ databaseUrl, host, port }: SluiceOptions) {
  if (standIn === 'fails') throw new Error('the reason')
  const client = new Client({ connectionString: databaseUrl })
  client.on('error', () => undefined)
  await client.connect()
  await client.query('create table if not exists starts (at timestamptz default now())')
  await client.query('insert into starts default values')
  const { rows } = await client.query<{ starts: number }>('select count(*)::int as starts from starts')
  say(`start ${rows[0]?.starts}\n`)
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, resolve)
  })
  if (standIn === 'throws')
    setImmediate(() => {
      throw new Error('nobody caught me')
    })
  return {
    // `address` is an object for a server that listens on a port.
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    async stop() {
      if (standIn === 'hangs') await new Promise(() => setInterval(() => undefined, 1_000))
      server.close()
      await client.end()
      say('Sluice has stopped\n')
    },
  }
}
