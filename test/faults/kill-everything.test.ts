import { randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { isTerminalEvent } from '../../src/contract/event.ts'
import { accepted, type Api } from '../journeys/support/api.ts'
import { openDatabaseView } from '../journeys/support/database-view.ts'
import { openEventStream } from '../journeys/support/event-stream.ts'
import { makeDataDir, startDeadlineMs } from '../journeys/support/program.ts'
import { openSimulatedCluster } from '../journeys/support/simulated-cluster.ts'
import { type SluiceProcess, startSluiceProcess } from '../journeys/support/sluice-process.ts'
import { seededRandom } from './seeded-random.ts'

const seed = Number(process.env['SLUICE_FAULT_SEED'] ?? randomInt(2 ** 31))
const moments = Number(process.env['SLUICE_FAULT_MOMENTS'] ?? 20)
const perMoment = 4

/** Where in its life the first task of a moment is when the clock of that moment starts, and how long it may run. */
const stages = [
  { name: 'sent', withinMs: 200 },
  { name: 'accepted', withinMs: 100 },
  { name: 'task.started', withinMs: 200 },
  { name: 'task.waiting', withinMs: 1_300 },
] as const

interface Wanted {
  readonly name: string
  /** Of the acknowledgement, once there was one. */
  taskId?: string
}

/** Asks for a project until somebody says 202, as any caller would; the key makes sure that asking again is asking once. */
async function ask(api: Api, wanted: Wanted): Promise<string> {
  const request = { body: { name: wanted.name, organization: 'acme' }, headers: { 'idempotency-key': wanted.name } }
  let answer = await api.send('POST', '/projects', request)
  while (answer.status === 503) {
    await delay(100)
    answer = await api.send('POST', '/projects', request)
  }
  wanted.taskId = accepted(answer).task_id
  return wanted.taskId
}

describe('kill -9 of the whole system between POST and COMPLETED', () => {
  test(
    `at ${moments} random moments: every acknowledged task completes once (SLUICE_FAULT_SEED=${seed})`,
    async () => {
      const random = seededRandom(seed)
      const dataDir = await makeDataDir()
      const all: Wanted[] = []
      const told: string[] = []
      let sluice = await startSluiceProcess(dataDir)
      for (let moment = 0; moment < moments; moment++) {
        const batch = Array.from({ length: perMoment }, (_, n): Wanted => ({ name: `moment-${moment}-${n}` }))
        const stage = stages[moment % stages.length] ?? stages[0]
        const [afterMs, databaseToo] = [random() * stage.withinMs, random() < 0.5]
        const asking = batch.map((wanted) => ask(sluice.as('requester'), wanted))
        const asked = Promise.allSettled(asking)
        await reach(stage.name, sluice.as('requester'), asking)
        await delay(afterMs)
        const killedAt = new Date()
        await (databaseToo ? sluice.killEverything() : sluice.kill())
        await asked
        all.push(...batch)
        sluice = await startSluiceProcess(dataDir)
        const when = `${afterMs.toFixed(0)} ms after ${stage.name}${databaseToo ? ', PostgreSQL too' : ''}`
        told.push(`${when}: ${await describeMoment(sluice, batch, killedAt)}`)
      }
      console.log(`kill -9, seed ${seed}:\n  ${told.join('\n  ')}`)

      // Whoever got no answer asks again with the same key.
      const requester = sluice.as('requester')
      for (const wanted of all) if (wanted.taskId === undefined) await ask(requester, wanted)
      for (const { taskId = '' } of all) expect(await requester.end(taskId)).toMatchObject({ status: 'COMPLETED' })
      await expectEachOnce(sluice, all)
    },
    startDeadlineMs + moments * 30_000,
  )
})

async function reach(
  stage: (typeof stages)[number]['name'],
  api: Api,
  asking: readonly Promise<string>[],
): Promise<void> {
  if (stage === 'sent') return
  const taskId = await Promise.any(asking)
  if (stage === 'accepted') return
  const stream = await openEventStream(api, taskId)
  await stream.until(stage)
}

/** How far the tasks of a moment had come when everything died. */
async function describeMoment(sluice: SluiceProcess, batch: readonly Wanted[], killedAt: Date): Promise<string> {
  const database = await openDatabaseView(sluice.databaseUrl)
  const events = await database.rows<{ name: string; type: string }>(
    `select distinct on (e.task_id) split_part(t.target, '//', 2) as name, e.type
     from sluice.domain_events e join sluice.tasks t using (task_id)
     where split_part(t.target, '//', 2) = any($1) and e.at <= $2 order by e.task_id, e.seq desc`,
    [batch.map(({ name }) => name), killedAt],
  )
  await database.close()
  return batch
    .map(({ name, taskId }) => {
      const last = events.find((event) => event.name === name)?.type ?? 'nothing'
      return `${last.replace('task.', '')}${taskId === undefined ? ' (no answer)' : ''}`
    })
    .join(', ')
}

async function expectEachOnce(sluice: SluiceProcess, all: readonly Wanted[]): Promise<void> {
  const names = all.map(({ name }) => name).sort()
  const requester = sluice.as('requester')
  const database = await openDatabaseView(sluice.databaseUrl)
  const tasks = await database.rows<{ name: string }>(`select split_part(target, '//', 2) as name from sluice.tasks`)
  expect(tasks.map(({ name }) => name).sort()).toEqual(names)
  for (const { taskId = '' } of all) {
    const types = (await requester.events(taskId)).map(({ type }) => type)
    expect(types[0]).toBe('task.requested')
    expect(types.filter(isTerminalEvent)).toEqual(['task.completed'])
    expect(types.at(-1)).toBe('task.completed')
  }
  // No event without its task, no job without its event, no wait, and no job that is still to do: what finished a wait a
  // moment ago may leave a second finish job, which finds nothing to do.
  const looseEnds = () =>
    database.rows(
      `select 'event' as orphan, event_id::text from sluice.domain_events e
         where task_id is not null and not exists (select from sluice.tasks t where t.task_id = e.task_id)
       union all select 'job', id::text from pgboss.job j
         where not exists (select from sluice.domain_events e where e.event_id::text = j.data->>'eventId')
       union all select name || ' ' || state, id::text from pgboss.job where state not in ('completed', 'cancelled')
       union all select 'wait', task_id::text from sluice.waits`,
    )
  await expect.poll(looseEnds, { timeout: 30_000, interval: 100 }).toEqual([])
  const jobs = await database.rows<{ id: string }>(`select id from pgboss.job where name = 'sluice-short'`)
  expect(jobs).toHaveLength(all.length)

  // Exactly one object each, made by its task, and the one that the result names.
  const objects = await (await openSimulatedCluster(sluice.kubeconfig)).projects()
  expect(objects.map(({ metadata }) => metadata.name).sort()).toEqual(names)
  for (const { name, taskId = '' } of all) {
    const { result } = await requester.task(taskId)
    const object = objects.find(({ metadata }) => metadata.name === name)
    expect(object?.metadata).toMatchObject({ uid: result?.['uid'], labels: { 'sluice.dev/task': taskId } })
    expect(await database.recordOf(name)).toMatchObject({ uid: result?.['uid'], state: 'present', ready: 'True' })
  }
  await database.close()
}
