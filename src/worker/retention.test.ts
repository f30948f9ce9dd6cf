import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { accept } from '../../test/helpers/worker.ts'
import { sealEvents } from '../audit/seal.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { cancelTask } from '../tasks/cancel-task.ts'
import { retain } from './housekeeping.ts'

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

const sweep = (retentionDays: number) =>
  retain({ ...core, logger: createMemoryLogger(), workerId: 'test', graceMs: 0, retentionDays })

const tasks = async () => (await core.database.pool.query('select from sluice.tasks')).rowCount

/** Moves the current month's partition two years back, with the rows in it. */
async function ageLog() {
  const { rows } = await core.database.pool.query<{ name: string }>(
    `select 'domain_events_' || to_char(now() at time zone 'UTC', 'YYYY_MM') as name`,
  )
  const name = String(rows[0]?.name)
  await core.database.pool.query(`alter table sluice.domain_events detach partition sluice.${name}`)
  await core.database.pool.query(`alter table sluice.${name} rename to domain_events_2020_01`)
  await core.database.pool.query(`alter table sluice.domain_events_2020_01 disable trigger user`)
  await core.database.pool.query(`update sluice.domain_events_2020_01 set at = '2020-01-15T00:00:00Z'`)
  await core.database.pool.query(`alter table sluice.domain_events_2020_01 enable trigger user`)
  await core.database.pool.query(
    `alter table sluice.domain_events attach partition sluice.domain_events_2020_01 for values from ('2020-01-01T00:00:00Z') to ('2020-02-01T00:00:00Z')`,
  )
}

async function setCreatedAt(taskId: string, at: string) {
  await core.database.pool.query('alter table sluice.tasks disable trigger user')
  await core.database.pool.query('update sluice.tasks set created_at = $2 where task_id = $1', [taskId, at])
  await core.database.pool.query('alter table sluice.tasks enable trigger user')
}

describe('retention', () => {
  test('deletes tasks that ended long ago, and none that goes on', async () => {
    const ended = await accept(core, noop)
    const open = await accept(core, noop)
    await cancelTask(core, { tenant: 'default', taskId: ended, actor: 'requester' })
    expect(await sweep(1)).toEqual({ tasks: 0, partitions: [] })
    expect(await sweep(-1)).toMatchObject({ tasks: 1 })
    const { rows } = await core.database.pool.query('select task_id from sluice.tasks')
    expect(rows).toEqual([{ task_id: open }])
  })

  test('nobody else deletes a task', async () => {
    await expect(core.database.pool.query('delete from sluice.tasks')).rejects.toMatchObject({ code: 'SL003' })
    await expect(core.database.pool.query('select sluice.drop_ended_tasks(now(), 1)')).rejects.toMatchObject({
      code: 'SL003',
    })
    await expect(
      core.database.transaction({ role: 'sluice_retention' }, (tx) => tx.deleteFrom('tasks').execute()),
    ).rejects.toMatchObject({ code: '42501' })
    expect(await tasks()).toBe(1)
  })

  test('keeps a partition whole while a task of its time is kept; drops it sealed, and leaves a checkpoint', async () => {
    await ageLog()
    await sealEvents(core)
    const goesOn = await accept(core, noop)
    await setCreatedAt(goesOn, '2020-01-15T00:00:00Z')
    expect(await sweep(30)).toEqual({ tasks: 0, partitions: [] })
    // One that was asked for after the partition ended is not in its way.
    await setCreatedAt(goesOn, '2020-02-01T00:00:00Z')
    const { rows: before } = await core.database.pool.query(
      'select count(*)::int as n from sluice.domain_events_2020_01',
    )
    expect(await sweep(30)).toEqual({ tasks: 0, partitions: ['domain_events_2020_01'] })
    const { rows } = await core.database.pool.query(
      'select partition, events::int as events, length(digest) as digest from sluice.log_checkpoints',
    )
    expect(rows).toEqual([{ partition: 'domain_events_2020_01', events: before[0].n, digest: 64 }])
    expect(await sweep(30)).toEqual({ tasks: 0, partitions: [] })
  })
})
