// One role of Sluice on a database and a cluster that are given, with the development principals that the `sluice` command
// has in embedded mode only. Takes the options of `startSluice` as JSON.
import { startSluice } from '../../../src/main.ts'
import { createPinoLogger } from '../../../src/platform/adapters/pino/pino-logger.ts'

const [options = '{}'] = process.argv.slice(2)
const sluice = await startSluice({
  ...JSON.parse(options),
  port: 0,
  logger: createPinoLogger({ level: 'info', destination: process.stderr }),
})
process.stdout.write(`ready on ${sluice.url}\n`)
const stop = () => void sluice.stop().then(() => process.exit(0))
process.once('SIGINT', stop)
// The test that started this one is gone.
process.once('disconnect', stop)
