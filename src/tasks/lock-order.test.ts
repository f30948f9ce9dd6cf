import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { startWorker, testOperation } from '../../test/helpers/worker.ts'
import { toWireId } from '../contract/ids.ts'
import { completed } from '../operations/define-operation.ts'
import { cancelMany } from './act-on-many.ts'
import { acceptBatch } from './batch.ts'
import { setLimit } from './queues.ts'

const operations = (['long', 'short'] as const).map((kind) =>
  testOperation({ class: kind, perform: async () => completed({}) }),
)
const tenants = ['one', 'two'] as const
const maxRunning = 6

let core: Core
const stops: (() => Promise<void>)[] = []
beforeAll(async () => {
  core = await startCore()
  for (const tenant of tenants) {
    const scope = { database: core.database, tenant, actor: 'admin' }
    await setLimit(scope, { scope: 'tenant', key: tenant, maxRunning, perMinute: null, burst: 1 })
  }
  for (let i = 0; i < 2; i++) {
    const worker = await startWorker(core, operations)
    stops.push(() => worker.stop(0))
  }
})
afterAll(async () => {
  for (const stop of stops) await stop()
  await core.stop()
})

/** Two batches of each limited tenant, cancelled while their items start, end and are woken. */
async function round(): Promise<void> {
  await Promise.all(
    [...tenants, ...tenants].map(async (tenant) => {
      const scope = { tenant, actor: 'requester' }
      const items = Array.from({ length: 40 }, (_, i) => {
        const operation = operations[i % operations.length]
        if (!operation) throw new Error('no operation')
        return { operation, input: { name: randomUUID() }, options: {}, ...scope }
      })
      const { batch_id } = await acceptBatch(core, { ...scope, items, onError: 'continue', concurrency: 8 })
      await delay(Math.random() * 150)
      await cancelMany(core, { ...scope, filter: { batch_id: toWireId('batch', batch_id) } })
    }),
  )
  const open = async () =>
    (await core.database.pool.query('select from sluice.batches where completed_at is null')).rowCount
  await expect.poll(open, { timeout: 60_000 }).toBe(0)
}

test(
  'starts, ends, wake-ups and cancels take their locks in one order: no deadlock, and no limit is exceeded',
  { timeout: 240_000 },
  async () => {
    for (let i = 0; i < 6; i++) await round()
    for (const most of await mostAtOnce()) expect(most).toBeLessThanOrEqual(maxRunning)
    // As of the end of the sessions that met one.
    for (const stop of stops.splice(0)) await stop()
    await core.database.pool.query('select pg_stat_force_next_flush()')
    const { rows } = await core.database.pool.query(
      'select deadlocks::int from pg_stat_database where datname = current_database()',
    )
    expect(rows).toEqual([{ deadlocks: 0 }])
  },
)

/** Of each tenant, by the log: whoever is admitted has seen the end of whoever made room, which is numbered before. */
async function mostAtOnce(): Promise<number[]> {
  const { rows } = await core.database.pool.query<{ most: number }>(
    `with moves as (select seq, tenant_id, case when type = 'task.started' then 1 else -1 end as step
       from sluice.domain_events e where type = 'task.started' or type in ('task.completed', 'task.cancelled')
         and exists (select from sluice.domain_events s where s.task_id = e.task_id and s.type = 'task.started'))
     select max(running)::int as most from (
       select tenant_id, sum(step) over (partition by tenant_id order by seq) as running from moves) m group by tenant_id`,
  )
  expect(rows).toHaveLength(tenants.length)
  return rows.map(({ most }) => most)
}
