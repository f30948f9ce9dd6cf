import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import type { Role } from '../contract/identity.ts'
import { permissionsOf } from '../identity/permissions.ts'
import { createOperationRegistry } from '../operations/registry.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { fireSchedules, type FireSchedulesOptions } from './fire-schedules.ts'
import {
  createSchedule,
  deleteSchedule,
  findSchedule,
  listSchedules,
  nextRun,
  pauseSchedule,
  type ScheduleFields,
} from './schedule.ts'

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

const scope = () => ({ database: core.database, tenant: 'default', actor: 'owner' })
const fields = (more: Partial<ScheduleFields> = {}): ScheduleFields => ({
  name: randomUUID(),
  operation: noop,
  input: { name: randomUUID() },
  options: {},
  cron: '* * * * *',
  timeZone: 'UTC',
  startAt: undefined,
  paused: false,
  missed: 'skip',
  overlap: 'skip',
  ...more,
})
const fire = (more: Partial<FireSchedulesOptions> = {}) =>
  fireSchedules({ ...core, operations: createOperationRegistry([noop]), logger: createMemoryLogger(), ...more })
/** Makes a schedule due, so many seconds ago. */
const due = (id: string, secondsAgo = 1) =>
  core.database.pool.query(
    `update sluice.schedules set next_run_at = date_trunc('milliseconds', now()) - make_interval(secs => $2) where schedule_id = $1`,
    [id, secondsAgo],
  )
const firedBy = async (id: string) =>
  (
    await core.database.pool.query('select task_id, status, requested_by from sluice.tasks where schedule_id = $1', [
      id,
    ])
  ).rows
const read = async (id: string) => findSchedule(core.database, 'default', id)

describe('a firing is a new task of the schedule’s owner', () => {
  test('it is accepted once, however many workers look at the same time', async () => {
    const { schedule_id: id } = await createSchedule(scope(), fields())
    await due(id)
    const fired = await Promise.all(Array.from({ length: 10 }, () => fire()))
    expect(fired.reduce((sum, n) => sum + n)).toBe(1)
    expect(await firedBy(id)).toEqual([{ task_id: expect.any(String), status: 'PENDING', requested_by: 'owner' }])
    const row = await read(id)
    expect(row?.last_task_id).toBe((await firedBy(id))[0].task_id)
    expect(Number(row?.next_run_at)).toBeGreaterThan(Date.now() - 1_000)
    expect(await fire()).toBe(0)
  })

  test('none while the one before is under way, unless overlap is allowed', async () => {
    const { schedule_id: id } = await createSchedule(scope(), fields())
    await due(id)
    await fire()
    await due(id)
    expect(await fire()).toBe(0)
    expect(await firedBy(id)).toHaveLength(1)
    expect((await read(id))?.last_outcome).toMatch(/^Skipped: the task before, task_.*, is still PENDING\.$/)
  })

  test('a missed one is skipped, and made up for once where that is asked', async () => {
    const skipping = await createSchedule(scope(), fields())
    const catching = await createSchedule(scope(), fields({ missed: 'run_once' }))
    await due(skipping.schedule_id, 7_200)
    await due(catching.schedule_id, 7_200)
    expect(await fire()).toBe(1)
    expect(await firedBy(skipping.schedule_id)).toHaveLength(0)
    expect((await read(skipping.schedule_id))?.last_outcome).toMatch(/^Skipped: no worker was there when it was due/)
    expect(await firedBy(catching.schedule_id)).toHaveLength(1)
    expect(Number((await read(catching.schedule_id))?.next_run_at)).toBeGreaterThan(Date.now() - 1_000)
  })

  const owner = (...roles: Role[]) => ({
    principal: { name: 'owner', tenants: ['default'] as const, roles },
    permissions: permissionsOf(roles.map((role) => ({ role }))),
  })
  const told = async (name: string) => {
    const { rows } = await core.database.pool.query(
      `select recipients from sluice.notifications where kind = 'schedule_skipped' and data->>'name' = $1`,
      [name],
    )
    return rows
  }

  test('an owner without permission: skipped, recorded, and told once, until it is so again', async () => {
    const { schedule_id: id, name } = await createSchedule(scope(), fields())
    const fireAs = async (found: ReturnType<typeof owner> | undefined) => {
      await due(id)
      return fire({ findOwner: async (tenant, who) => (tenant === 'default' && who === 'owner' ? found : undefined) })
    }
    expect(await fireAs(undefined)).toBe(0)
    expect(await fireAs(owner('viewer'))).toBe(0)
    expect(await firedBy(id)).toHaveLength(0)
    expect((await read(id))?.last_outcome).toBe(
      'Skipped: owner, who owns the schedule, may not ask for test.noop any more.',
    )
    expect(await told(name)).toEqual([{ recipients: ['default/principal:owner'] }])
    const { rows } = await core.database.pool.query(
      `select type, actor from sluice.domain_events where task_id is null and payload->>'name' = $1 order by seq`,
      [name],
    )
    expect(rows).toEqual([
      { type: 'schedule.created', actor: 'owner' },
      { type: 'schedule.skipped', actor: 'scheduler' },
      { type: 'schedule.skipped', actor: 'scheduler' },
    ])
    expect(await fireAs(owner('requester'))).toBe(1)
    expect(await fireAs(undefined)).toBe(0)
    expect(await told(name)).toHaveLength(2)
  })

  test('paused: nothing fires; resumed: it goes on from now', async () => {
    const { schedule_id: id } = await createSchedule(scope(), fields())
    await pauseSchedule(scope(), id, true)
    await due(id, 7_200)
    expect(await fire()).toBe(0)
    const resumed = await pauseSchedule(scope(), id, false)
    expect(Number(resumed?.next_run_at)).toBeGreaterThan(Date.now() - 1_000)
    expect(await fire()).toBe(0)
  })

  test('an operation that this worker does not know is left to one that does', async () => {
    const { schedule_id: id } = await createSchedule(scope(), fields())
    await due(id)
    expect(await fire({ operations: createOperationRegistry([]) })).toBe(0)
    expect(await fire()).toBe(1)
    expect(await deleteSchedule(scope(), id)).toBe(true)
    expect(await firedBy(id)).toHaveLength(1)
    expect((await listSchedules(core.database, 'default')).some((row) => row.schedule_id === id)).toBe(false)
  })

  test('one name per tenant', async () => {
    const one = fields()
    await createSchedule(scope(), one)
    await expect(createSchedule(scope(), one)).rejects.toMatchObject({ code: 'schedule_exists' })
    await createSchedule({ ...scope(), tenant: 'other' }, one)
  })
})

describe('time zones and daylight saving', () => {
  const times = (cron: string, zone: string, from: string, n: number) => {
    const found: string[] = []
    let at: Date | null = new Date(from)
    while (at && found.length < n) {
      at = nextRun(cron, zone, at)
      if (at) found.push(at.toISOString())
    }
    return found
  }

  test('an hour that is skipped in spring fires once that day', () => {
    // Berlin, 29 March 2026: 02:00 becomes 03:00, which is when it fires.
    expect(times('30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00:00Z', 3)).toEqual([
      '2026-03-28T01:30:00.000Z',
      '2026-03-29T01:00:00.000Z',
      '2026-03-30T00:30:00.000Z',
    ])
  })

  test('an hour that is repeated in autumn fires once', () => {
    // Berlin, 25 October 2026: 03:00 becomes 02:00.
    expect(times('30 2 * * *', 'Europe/Berlin', '2026-10-24T00:00:00Z', 3)).toEqual([
      '2026-10-24T00:30:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ])
  })

  test('start_at holds the first firing back', () => {
    const start = new Date('2026-05-01T12:00:00Z')
    expect(nextRun('0 * * * *', 'UTC', new Date('2026-04-01T00:00:00Z'), start)).toEqual(start)
    expect(nextRun('0 0 30 2 *', 'UTC', new Date('2026-04-01T00:00:00Z'))).toBeNull()
  })

  test.each([
    ['not cron', 'UTC'],
    ['* * * * * *', 'UTC'],
    ['0 25 * * *', 'UTC'],
    ['0 0 * * *', 'Mars/Olympus'],
  ])('%s in %s is refused', (cron, zone) => {
    expect(() => nextRun(cron, zone, new Date(0))).toThrow(expect.objectContaining({ code: 'invalid_schedule' }))
  })
})
