/**
 * What the audit costs: a log of a million events of twenty tenants is sealed, and verified from its first event to its
 * last, all tenants together and then one by itself.
 *
 *   node bench/audit.ts [--events 1000000]
 */
import { parseArgs } from 'node:util'
import { sealEvents } from '../src/audit/seal.ts'
import { verifyAudit } from '../src/audit/verify.ts'
import { createDatabase } from '../src/database/database.ts'
import { openBenchDatabase } from './bench-database.ts'

const { values } = parseArgs({ options: { events: { type: 'string' } } })
const events = Number(values.events ?? 1_000_000)
const tenants = 20

const bench = await openBenchDatabase()
const database = createDatabase({ url: bench.url, poolMax: 4 })

// As the owner, past the triggers: this is about reading. The payload is as long as that of a common request.
const client = await database.pool.connect()
await client.query(`set statement_timeout = 0; set session_replication_role = 'replica'`)
for (let from = 1; from <= events; from += 50_000) {
  await client.query(`insert into sluice.domain_events (seq, task_id, tenant_id, type, operation, target, actor, payload)
    select g, gen_random_uuid(), 'tenant-' || g % ${tenants}, 'task.requested', 'vm.create',
      'default:kubevirt.io/VirtualMachine/default/machine-' || g, 'anna@example.com', jsonb_build_object(
        'input', jsonb_build_object('name', 'machine-' || g, 'namespace', 'default', 'image', 'registry/images/debian:12',
          'cpu', 2, 'memory', '4Gi', 'run_strategy', 'Always', 'labels', jsonb_build_object('team', 'core')),
        'input_hash', encode(sha256(g::text::bytea), 'hex'), 'class', 'short', 'status', 'PENDING', 'cluster', 'default',
        'timeout_ms', 300000, 'max_attempts', 5, 'source', jsonb_build_object('address', '203.0.113.7', 'via', 'token',
          'token_id', 'token_01k000000000000000000000', 'trace_id', md5(g::text)))
    from generate_series(${from}, ${Math.min(from + 49_999, events)}) g`)
}
await client.query(`select setval('sluice.event_seq', ${events})`)
await client.query('reset session_replication_role')
client.release()

async function timed(what: string, work: () => Promise<number>): Promise<void> {
  const began = performance.now()
  const count = await work()
  const seconds = (performance.now() - began) / 1000
  console.log(`| ${what} | ${count} | ${seconds.toFixed(1)} | ${Math.round(count / seconds)} |`)
}

console.log(`| | events | seconds | per second |\n|---|---|---|---|`)
await timed('sealed', async () => {
  let sealed = 0
  for (let more = 1; more > 0; sealed += more) more = await sealEvents({ database })
  return sealed
})
const verify = async (tenant?: string): Promise<number> => {
  const verified = await verifyAudit({ database, tenant })
  if (verified.findings.length > 0) throw new Error(JSON.stringify(verified.findings[0]))
  return verified.events
}
await timed('verified, all tenants', () => verify())
await timed('verified, one tenant', () => verify('tenant-7'))
const { rows } = await database.pool.query<{ size: string }>(
  `select sum(pg_total_relation_size(relid)) as size from pg_partition_tree('sluice.audit_seals')`,
)
console.log(`\nThe seals take ${(Number(rows[0]?.size) / events).toFixed(0)} bytes an event.`)

await database.stop()
await bench.stop()
