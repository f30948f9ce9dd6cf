import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/cli/embedded-postgres/start-embedded-postgres.ts'
import { startSimulatedCluster, type SimulatedCluster } from '../../src/kubernetes/simulated/simulated-cluster.ts'
import { until } from '../helpers/until.ts'
import { type Api, problemOf } from '../journeys/support/api.ts'
import { openDatabaseView } from '../journeys/support/database-view.ts'
import { openEventStream } from '../journeys/support/event-stream.ts'
import { openLiveSocket } from '../journeys/support/live-socket.ts'
import { makeDataDir, startDeadlineMs } from '../journeys/support/program.ts'
import { type RoleProcess, startRole } from '../journeys/support/role.ts'
import { postmasterPid } from '../journeys/support/sluice-process.ts'
import { startDatabaseProxy } from './database-proxy.ts'
import { type InsistentCallers, startInsistentCallers } from './insistent-callers.ts'

let dataDir: string
let postgres: EmbeddedPostgres
let cluster: SimulatedCluster
let sluice: RoleProcess
let requester: Api

beforeEach(async () => {
  dataDir = await makeDataDir()
  postgres = await startEmbeddedPostgres({ dataDir })
  cluster = await startSimulatedCluster()
}, startDeadlineMs)
afterEach(async () => {
  await sluice?.stop()
  await cluster?.stop()
  await postgres?.stop()
})

const start = async (databaseUrl = postgres.connectionString) => {
  sluice = await startRole({ role: 'all', databaseUrl, kubeconfig: cluster.kubeconfig() })
  requester = sluice.as('requester')
}

const untilCount = async (callers: InsistentCallers, status: number, least: number): Promise<void> => {
  await expect.poll(() => callers.count(status), { timeout: 60_000, interval: 10 }).toBeGreaterThanOrEqual(least)
}

/** Nothing but 202 and an honest 503; and behind every 202 a task, once, that goes on to its end. */
async function expectHonest(callers: InsistentCallers): Promise<void> {
  for (const answer of callers.answers) {
    if (answer.status === 202) continue
    expect(answer.status).toBe(503)
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(problemOf(answer)).toMatchObject({ code: 'database_unavailable', retryable: true })
  }
  for (const taskId of callers.taskIds.values()) {
    expect(await requester.end(taskId)).toMatchObject({ status: 'COMPLETED' })
  }
  const database = await openDatabaseView(postgres.connectionString)
  const tasks = await database.rows<{ name: string }>(`select split_part(target, '//', 2) as name from sluice.tasks`)
  expect(tasks.map(({ name }) => name).sort()).toEqual([...callers.taskIds.keys()].sort())
  const jobs = await database.rows(`select from pgboss.job where name = 'sluice-short'`)
  expect(jobs).toHaveLength(tasks.length)
  await database.close()
}

describe('PostgreSQL goes away while changes come in: never a 202 without a commit', () => {
  test('it is restarted in good order', async () => {
    await start()
    const callers = startInsistentCallers(requester, 4, 'restart')
    await untilCount(callers, 202, 8)
    await postgres.stop()
    await untilCount(callers, 503, 8)
    const ready = await requester.send('GET', '//readyz')
    expect(ready.status).toBe(503)
    expect(ready.body).toMatchObject({ reasons: [expect.stringContaining('PostgreSQL cannot be reached')] })
    expect((await requester.send('GET', '//healthz')).status).toBe(200)

    const before = callers.count(202)
    postgres = await startEmbeddedPostgres({ dataDir })
    await untilCount(callers, 202, before + 8)
    await callers.stop()
    expect((await requester.send('GET', '//readyz')).status).toBe(200)
    await expectHonest(callers)
  }, 120_000)

  test('it dies, with tasks waiting and a reader connected', async () => {
    await start()
    const letGo = cluster.faults.controller({ mode: 'stall', kind: 'Project', name: 'waits-through-it' })
    const { task_id } = await requester.createProject('waits-through-it')
    const stream = await openEventStream(requester, task_id)
    await stream.until('task.waiting')
    const socket = await openLiveSocket(requester)
    socket.send({ subscribe: { id: 'all', kind: 'tasks' } })
    expect(await socket.next()).toMatchObject({ ready: true })

    process.kill(await postmasterPid(dataDir), 'SIGKILL')
    await postgres.stop()
    letGo()
    await until(async () => (await requester.send('GET', `/tasks/${task_id}`)).status === 503)
    postgres = await startEmbeddedPostgres({ dataDir })

    // The same stream, the same socket: both were connected to Sluice, which is alive.
    expect((await stream.rest()).map(({ type }) => type)).toEqual(['task.completed'])
    expect((await socket.until(task_id, 'task.completed')).map(({ type }) => type)).toEqual(['task.completed'])
    expect(await requester.end(task_id)).toMatchObject({ status: 'COMPLETED', attempt: 1 })
    socket.cut()
  }, 120_000)

  test('its backends are ended in the middle of their transactions, again and again', async () => {
    await start()
    const callers = startInsistentCallers(requester, 4, 'ended')
    const database = await openDatabaseView(postgres.connectionString)
    for (let round = 1; round <= 10; round++) {
      await untilCount(callers, 202, round * 4)
      // The listener's own connection too; once in the middle of a transaction where one is open.
      await database.rows(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('sluice', 'sluice listen')`,
      )
    }
    await database.close()
    await callers.stop()
    await expectHonest(callers)
  }, 120_000)

  test('nothing comes back from it, and nobody says so: each caller gets its 503 in bounded time', async () => {
    const proxy = await startDatabaseProxy(postgres.connectionString)
    // As in production, in a tenth of the time.
    await start(`${proxy.url}?statement_timeout=3000&query_timeout=3500`)
    await requester.end((await requester.createProject('before')).task_id)
    proxy.swallow()
    const asked = performance.now()
    const names = Array.from({ length: 30 }, (_, n) => `swallowed-${n}`)
    const ask = (name: string) =>
      requester.send('POST', '/projects', {
        body: { name, organization: 'acme' },
        headers: { 'idempotency-key': name },
      })
    const answers = await Promise.all(names.map(ask))
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 503))
    expect(performance.now() - asked).toBeLessThan(15_000)

    proxy.letThrough()
    await expect.poll(async () => (await ask('swallowed-0')).status, { timeout: 20_000 }).toBe(202)
    for (const name of names) expect((await ask(name)).status).toBe(202)
    const database = await openDatabaseView(postgres.connectionString)
    await expect
      .poll(() => database.rows(`select status, count(*)::int from sluice.tasks group by status`), { timeout: 30_000 })
      .toEqual([{ status: 'COMPLETED', count: names.length + 1 }])
    await database.close()
    await sluice.stop()
    await proxy.stop()
  }, 120_000)
})
