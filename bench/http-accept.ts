/**
 * What a caller of the HTTP API waits for its 202: requests arrive at a fixed rate, whether or not earlier ones have
 * been answered, while a worker in the same process runs the tasks.
 *
 *   node bench/http-accept.ts [--rate 200] [--seconds 20]
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { startSluice } from '../src/main.ts'
import { completed, defineOperation } from '../src/operations/define-operation.ts'
import { openBenchDatabase, percentile } from './bench-database.ts'

const { values } = parseArgs({ options: { rate: { type: 'string' }, seconds: { type: 'string' } } })
const rate = Number(values.rate ?? 200)
const seconds = Number(values.seconds ?? 20)

const bench = await openBenchDatabase()
const token = () => randomBytes(32).toString('base64url')
const devTokens = { requester: token(), approver: token(), admin: token() }
const silent = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => silent }
const noop = defineOperation({
  type: 'bench.noop',
  title: 'Nothing',
  route: { method: 'POST', path: '/bench' },
  input: z.strictObject({ name: z.string() }),
  class: 'short',
  uniqueKey: ({ name }) => name,
  perform: async () => completed({}),
})
const sluice = await startSluice({
  databaseUrl: bench.url,
  port: 0,
  poolMax: 20,
  devTokens,
  operations: [noop],
  // One caller asks for everything here: its own limit is not what is measured.
  requestLimits: { principal: { perSecond: 10_000, burst: 10_000 } },
  logger: silent,
})

const latencies: number[] = []
const statuses = new Map<number, number>()
const headers = { authorization: `Bearer ${devTokens.requester}`, 'content-type': 'application/json' }

async function once(): Promise<void> {
  const begin = performance.now()
  const body = JSON.stringify({ name: randomUUID() })
  const response = await fetch(`${sluice.url}/api/v1/bench`, { method: 'POST', headers, body })
  await response.arrayBuffer()
  latencies.push(performance.now() - begin)
  statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
}

for (let i = 0; i < 50; i++) await once()
latencies.length = 0
statuses.clear()

const pending: Promise<void>[] = []
const begin = performance.now()
for (let i = 0; i < rate * seconds; i++) {
  const due = begin + (i / rate) * 1000
  const early = due - performance.now()
  if (early > 0) await new Promise((resolve) => setTimeout(resolve, early))
  pending.push(once())
}
await Promise.all(pending)
const took = (performance.now() - begin) / 1000

console.log(`${rate} requests a second for ${seconds} s, a worker beside them\n`)
console.log(
  '| asked per second | answered per second | p50 ms | p99 ms | worst ms | statuses |\n|---|---|---|---|---|---|',
)
const counts = [...statuses].map(([status, count]) => `${status}: ${count}`).join(', ')
const figures = [0.5, 0.99, 1].map((share) => percentile(latencies, share).toFixed(1))
console.log(`| ${rate} | ${(latencies.length / took).toFixed(0)} | ${figures.join(' | ')} | ${counts} |`)

await sluice.stop()
await bench.stop()
