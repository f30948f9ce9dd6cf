import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createPlatform } from '../../src/platform/create-platform.ts'
import type { EventEnvelope } from '../../src/platform/event-envelope.ts'
import { createMemoryLogger } from '../../src/platform/memory/memory-logger.ts'
import type { Platform } from '../../src/platform/platform.ts'
import { startSluice } from '../../src/main.ts'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { cancelTask } from '../../src/tasks/cancel-task.ts'
import { type Core, noop, startCore } from '../helpers/core.ts'
import { createTestDatabase } from '../helpers/test-database.ts'
import { accept } from '../helpers/worker.ts'
import { startDeadlineMs } from './support/program.ts'
import { type RoleProcess, startRole } from './support/role.ts'

let core: Core
let cluster: SimulatedCluster
/** Another program, with a subscription of its own. */
let program: Platform
const received: EventEnvelope[] = []
const processes: RoleProcess[] = []

const startWorker = async (): Promise<RoleProcess> => {
  const started = await startRole({
    role: 'worker',
    databaseUrl: core.url,
    kubeconfig: cluster.kubeconfig(),
    platform: { pubsub: { adapter: 'pg-boss' } },
    publishEvents: { leaseMs: 2_000 },
  })
  processes.push(started)
  return started
}

beforeAll(async () => {
  core = await startCore()
  cluster = await startSimulatedCluster()
  program = createPlatform({
    db: { adapter: 'postgres', url: core.url, poolMax: 5 },
    pubsub: { adapter: 'pg-boss' },
    logger: { adapter: 'own', service: createMemoryLogger() },
  })
  await program.start()
  const handler = async (event: EventEnvelope) => void received.push(event)
  await program.pubsub.subscribe({ topic: 'sluice.events', name: 'billing' }, handler, { concurrency: 4 })
  await Promise.all([startWorker(), startWorker()])
}, startDeadlineMs)
afterAll(async () => {
  await Promise.all(processes.map((started) => started.stop()))
  await program?.stop()
  await cluster?.stop()
  await core?.stop()
})

const holder = async (): Promise<number | undefined> => {
  const { rows } = await core.database.pool.query<{ holder: string }>(
    `select holder from sluice.event_publishers where lease_until > clock_timestamp()`,
  )
  return rows[0] && Number(rows[0].holder.split('/')[1])
}
/** What the processes wrote before the first publisher began (which policy holds) is not published. */
let since = '0'
const logged = async () =>
  (
    await core.database.pool.query<{ event_id: string; task_id: string }>(
      'select event_id, task_id from sluice.domain_events where seq > $1 order by seq',
      [since],
    )
  ).rows

/** Two events of each task. No more at once than there are connections: who waits for one longer than 5 s gives up. */
async function acceptAndCancel(tasks: number): Promise<void> {
  const callers = Array.from({ length: 10 }, async () => {
    for (let n = 0; n < tasks / 10; n++) {
      const taskId = await accept(core, noop)
      await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
    }
  })
  await Promise.all(callers)
}

describe('published events, with their publisher killed in mid-work', () => {
  test(
    'nothing is lost, each task is in order, and another process goes on',
    async () => {
      await expect.poll(holder, { timeout: 30_000 }).toBeDefined()
      const { rows } = await core.database.pool.query<{ seq: string }>('select last_value as seq from sluice.event_seq')
      since = rows[0]?.seq ?? since
      for (let kills = 0; kills < 3; kills++) {
        await expect.poll(holder, { timeout: 30_000 }).toBeDefined()
        // Enough that it dies with some published and some not.
        const accepted = acceptAndCancel(150)
        const before = received.length
        await expect.poll(() => received.length, { timeout: 30_000, interval: 1 }).toBeGreaterThan(before)
        const pid = await holder()
        const publishing = processes.find((one) => one.pid === pid)
        if (!publishing) throw new Error(`process ${pid} publishes and is none of ours`)
        await publishing.kill()
        processes.splice(processes.indexOf(publishing), 1)
        await accepted
        await startWorker()
      }
      const ids = () => new Set(received.map(({ id }) => id))
      await expect
        .poll(async () => (await logged()).filter(({ event_id }) => !ids().has(event_id)).length, { timeout: 60_000 })
        .toBe(0)
      const order = new Map((await logged()).map(({ event_id }, n) => [event_id, n]))
      const firsts = received.filter(({ id }, n) => received.findIndex((one) => one.id === id) === n)
      for (const events of Map.groupBy(firsts, ({ subject }) => subject).values()) {
        const places = events.map(({ id }) => order.get(id) ?? -1)
        expect(places).toEqual(places.toSorted((a, b) => a - b))
      }
    },
    startDeadlineMs * 2,
  )
})

describe('where nobody asked for it', () => {
  test('nothing is published, and nothing is written for it', async () => {
    const { url } = await createTestDatabase()
    const sluice = await startSluice({ databaseUrl: url, port: 0, poolMax: 5, logger: createMemoryLogger() })
    const quiet = await startCore({ url })
    await accept(quiet, noop)
    const { rows } = await quiet.database.pool.query(
      `select (select count(*)::int from sluice.event_publishers) as publishers,
         to_regclass('sluice_platform.published_events') is null as "no tables"`,
    )
    expect(rows).toEqual([{ publishers: 0, 'no tables': true }])
    await quiet.stop()
    await sluice.stop()
  })
})
