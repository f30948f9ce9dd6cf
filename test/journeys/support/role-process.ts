// One role of Sluice on a database and a cluster that are given, with the development principals that the `sluice` command
// has in embedded mode only. Takes the options of `startSluice` as JSON.
import { startSluice } from '../../../src/main.ts'

const [options = '{}'] = process.argv.slice(2)
const { platform, ...settings } = JSON.parse(options)
const sluice = await startSluice({
  ...settings,
  port: 0,
  platform: { logger: { adapter: 'pino', level: 'info', destination: process.stderr }, ...platform },
})
process.stdout.write(`ready on ${sluice.url}\n`)
const stop = () => void sluice.stop().then(() => process.exit(0))
process.once('SIGINT', stop)
// The test that started this one is gone.
process.once('disconnect', stop)
