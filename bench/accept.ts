/**
 * What acceptance costs: transactions per second of each way, as a ratio to a transaction with two raw inserts over the
 * same eight connections. Rounds of all ways are interleaved, and the median ratio counts.
 *
 *   node bench/accept.ts [--rounds 7] [--seconds 2]
 */
import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { PgBoss } from 'pg-boss'
import { z } from 'zod'
import { createDatabase } from '../src/database/database.ts'
import { createSignalSender } from '../src/database/signals.ts'
import { completed, defineOperation } from '../src/operations/define-operation.ts'
import { createPgBossQueue } from '../src/queue/pg-boss-queue.ts'
import { createTaskAcceptor } from '../src/tasks/accept-task.ts'
import { median, openBenchDatabase, percentile } from './bench-database.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string' }, seconds: { type: 'string' } } })
const rounds = Number(values.rounds ?? 7)
const roundMs = Number(values.seconds ?? 2) * 1000
const connections = 8

interface Way {
  readonly name: string
  readonly callers: number
  once(): Promise<unknown>
}

const bench = await openBenchDatabase()
const database = createDatabase({ url: bench.url, poolMax: connections })
const raw = new Pool({ connectionString: bench.url, max: connections })
const queue = createPgBossQueue({ database, supervise: false, onError: console.error })
await queue.start()
const signals = createSignalSender(database.pool, console.error)
const boss = new PgBoss({
  connectionString: bench.url,
  max: connections,
  supervise: false,
  schedule: false,
  migrate: false,
})
boss.on('error', console.error)
await boss.start()
await raw.query('create table raw_events (id uuid primary key, payload jsonb not null, at timestamptz default now())')
await raw.query('create table raw_jobs (id uuid primary key, data jsonb not null, at timestamptz default now())')

const operation = defineOperation({
  type: 'bench.noop',
  title: 'Nothing',
  input: z.strictObject({ name: z.string() }),
  class: 'short',
  uniqueKey: ({ name }) => name,
  target: ({ name }) => `default:bench/Thing//${name}`,
  perform: async () => completed({}),
})
const request = () => ({ operation, input: { name: randomUUID() }, options: {}, tenant: 'default', actor: 'bench' })
const direct = createTaskAcceptor({ database, queue, signals, groupSize: 1, groupsInFlight: connections })
const joined = createTaskAcceptor({ database, queue, signals })

const ways: readonly Way[] = [
  { name: 'two raw inserts', callers: connections, once: rawTwoInserts },
  {
    name: 'pg-boss send alone',
    callers: connections,
    once: () => boss.send('sluice-short', { eventId: randomUUID() }),
  },
  { name: 'sluice, one request a transaction', callers: connections, once: () => direct.accept(request()) },
  { name: 'sluice, 8 callers joined', callers: 8, once: () => joined.accept(request()) },
  { name: 'sluice, 64 callers joined', callers: 64, once: () => joined.accept(request()) },
  {
    name: 'sluice, 64 callers joined, with Idempotency-Key',
    callers: 64,
    once: () => joined.accept({ ...request(), idempotencyKey: randomUUID() }),
  },
  { name: 'sluice, one caller alone', callers: 1, once: () => joined.accept(request()) },
  { name: 'one caller, a transaction of its own', callers: 1, once: () => direct.accept(request()) },
]

async function rawTwoInserts(): Promise<void> {
  const client = await raw.connect()
  try {
    await client.query('begin')
    const id = randomUUID()
    await client.query('insert into raw_events (id, payload) values ($1, $2)', [id, '{"input":{"name":"x"}}'])
    await client.query('insert into raw_jobs (id, data) values ($1, $2)', [id, `{"eventId":"${id}"}`])
    await client.query('commit')
  } finally {
    client.release()
  }
}

async function measure(way: Way): Promise<{ perSecond: number; latencies: number[] }> {
  const latencies: number[] = []
  const begin = performance.now()
  const caller = async (): Promise<void> => {
    while (performance.now() - begin < roundMs) {
      const start = performance.now()
      await way.once()
      latencies.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: way.callers }, caller))
  return { perSecond: (latencies.length / (performance.now() - begin)) * 1000, latencies }
}

const results = new Map(
  ways.map(({ name }) => [name, { rates: [] as number[], ratios: [] as number[], latencies: [] as number[] }]),
)
for (const way of ways) await measure(way)
for (let round = 0; round < rounds; round++) {
  let base = Number.NaN
  for (const way of ways) {
    const { perSecond, latencies } = await measure(way)
    if (way === ways[0]) base = perSecond
    const result = results.get(way.name)
    result?.rates.push(perSecond)
    result?.ratios.push(perSecond / base)
    result?.latencies.push(...latencies)
  }
}

console.log(`${rounds} interleaved rounds of ${roundMs / 1000} s; ratio to two raw inserts in one transaction\n`)
console.log('| way | callers | ratio | per second | p50 ms | p99 ms |\n|---|---|---|---|---|---|')
for (const { name, callers } of ways) {
  const { rates = [], ratios = [], latencies = [] } = results.get(name) ?? {}
  const cells = [
    name,
    callers,
    median(ratios).toFixed(2),
    median(rates).toFixed(0),
    median(latencies).toFixed(2),
    percentile(latencies, 0.99).toFixed(2),
  ]
  console.log(`| ${cells.join(' | ')} |`)
}

await boss.stop({ graceful: false })
await queue.stop()
await signals.stop()
await raw.end()
await database.stop()
await bench.stop()
