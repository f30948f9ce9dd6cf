import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { until } from '../../test/helpers/until.ts'
import { accept, eventTypesOf, reached, readTask, startWorker, testOperation } from '../../test/helpers/worker.ts'
import { completed, type ResourceRecord } from '../operations/define-operation.ts'
import { LostClaimError, type Queue } from '../queue/queue.ts'

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

const record: ResourceRecord = {
  cluster: 'default',
  ref: { apiVersion: 'v1', kind: 'Thing', name: 'one' },
  uid: 'u',
  state: 'present',
  conditions: [],
}

/** What the outcome of this task has left behind. */
async function traces(taskId: string) {
  const { rows } = await core.database.pool.query(
    `select (select count(*)::int from sluice.resources where task_id = $1) as records,
       (select count(*)::int from sluice.notifications where task_id = $1 and kind = 'task_ended') as told,
       (select state::text from pgboss.job where id = $1) as job`,
    [taskId],
  )
  return rows[0]
}

describe('outcome, record, notification and the job’s end are one transaction', () => {
  test('a failure in it leaves none of them; the next try writes them all', async () => {
    const operation = testOperation({ perform: async () => completed({}, record) })
    let failures = 0
    let seen: unknown
    const queue: Queue = {
      ...core.queue,
      complete: async (tx, name, jobs) => {
        const [job] = jobs
        if (name === 'sluice-long' && job && failures === 0) {
          failures++
          // Last in the transaction: the event and the record are written, and nobody sees them.
          seen = await traces(job.id)
          throw new Error('the connection broke')
        }
        await core.queue.complete(tx, name, jobs)
      },
    }
    const worker = await startWorker({ ...core, queue }, [operation])
    const taskId = await accept(core, operation)
    expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED', attempt: 1 })
    expect(failures).toBe(1)
    expect(seen).toEqual({ records: 0, told: 0, job: 'active' })
    expect(await eventTypesOf(core, taskId)).toEqual(['requested', 'started', 'completed'])
    expect(await traces(taskId)).toEqual({ records: 1, told: 1, job: 'completed' })
    await worker.stop(0)
  })

  test('where the engine says that the claim is no longer ours, nothing is written', async () => {
    const operation = testOperation({
      perform: async () => completed({}, { ...record, ref: { ...record.ref, name: 'two' } }),
    })
    const queue: Queue = {
      ...core.queue,
      complete: () => Promise.reject(new LostClaimError('1 of 1 jobs are no longer ours')),
    }
    const worker = await startWorker({ ...core, queue }, [operation])
    const taskId = await accept(core, operation)
    await until(() => worker.logger.lines.some(({ message }) => message.startsWith('attempt was taken over')))
    expect(await readTask(core, taskId)).toMatchObject({ status: 'RUNNING', result: null })
    expect(await eventTypesOf(core, taskId)).toEqual(['requested', 'started'])
    expect(await traces(taskId)).toMatchObject({ records: 0, told: 0 })
    await worker.stop(0)
  })

  test.each([0, 11, 2.5])('a worker with %s slots is refused: it has 1 to 10', async (slots) => {
    await expect(startWorker(core, [], { slots })).rejects.toThrow(/1 to 10 slots/)
  })
})
