/**
 * What a caller waits for the 202 of a batch: parsed, judged by the policy item by item, accepted in one transaction.
 * Then, for the batch that needs an approval, what its approver waits for the one decision on all items.
 *
 *   node bench/bulk.ts [--items 10000] [--rounds 3]
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { createClient } from '../src/client/index.ts'
import { startSluice } from '../src/main.ts'
import { completed, defineOperation } from '../src/operations/define-operation.ts'
import { median, openBenchDatabase, percentile } from './bench-database.ts'

const { values } = parseArgs({ options: { items: { type: 'string' }, rounds: { type: 'string' } } })
const size = Number(values.items ?? 10_000)
const rounds = Number(values.rounds ?? 3)

const policy = `version: 1
rules:
  - { name: held, when: 'operation == "bench.held"', approval: {} }
  - { name: rest, allow: true }
`
const noop = (type: string) =>
  defineOperation({
    type,
    title: 'Nothing',
    input: z.strictObject({ name: z.string() }),
    class: 'short',
    uniqueKey: ({ name }) => name,
    target: ({ name }) => `default:bench/Thing//${name}`,
    perform: async () => completed({}),
  })

const bench = await openBenchDatabase()
const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-policy-'))
await writeFile(join(folder, 'policy.yaml'), policy)
const token = () => randomBytes(32).toString('base64url')
const devTokens = { requester: token(), approver: token(), admin: token() }
const silent = { debug() {}, info() {}, warn: console.warn, error: console.error, child: () => silent }
const sluice = await startSluice({
  // No worker: what it does meanwhile is not what is measured.
  role: 'api',
  databaseUrl: bench.url,
  port: 0,
  poolMax: 20,
  devTokens,
  operations: [noop('bench.free'), noop('bench.held')],
  policyFile: join(folder, 'policy.yaml'),
  logger: silent,
})
const as = (who: keyof typeof devTokens) =>
  createClient({ baseUrl: sluice.url, token: devTokens[who], timeoutMs: 120_000 })
const client = { requester: as('requester'), approver: as('approver') }

async function time<T>(work: () => Promise<T>): Promise<{ ms: number; answer: T }> {
  const begin = performance.now()
  const answer = await work()
  return { ms: performance.now() - begin, answer }
}

const submit = (operation: string, items: number) =>
  time(() =>
    client.requester.submitBatch({
      items: Array.from({ length: items }, () => ({ operation, input: { name: randomUUID() } })),
    }),
  )

await submit('bench.free', 100)
const took: Record<string, number[]> = { free: [], held: [], approved: [] }
for (let round = 0; round < rounds; round++) {
  took['free']?.push((await submit('bench.free', size)).ms)
  const held = await submit('bench.held', size)
  took['held']?.push(held.ms)
  const page = await client.approver.listTickets({ batch_id: held.answer.batch_id })
  const [ticket] = page.items
  if (!ticket) throw new Error('the batch has no ticket')
  const { ticket_id, payload_hash } = ticket
  took['approved']?.push((await time(() => client.approver.approveTicket(ticket_id, { payload_hash }))).ms)
}

console.log(`${size} items, ${rounds} rounds\n`)
console.log('| what | median s | worst s |\n|---|---|---|')
const rows = [
  ['POST /tasks/bulk, none needs an approval', 'free'],
  ['POST /tasks/bulk, all under one ticket', 'held'],
  ['approve that ticket', 'approved'],
] as const
for (const [what, key] of rows) {
  const samples = took[key] ?? []
  console.log(`| ${what} | ${(median(samples) / 1000).toFixed(2)} | ${(percentile(samples, 1) / 1000).toFixed(2)} |`)
}

await sluice.stop()
await bench.stop()
await rm(folder, { recursive: true })
