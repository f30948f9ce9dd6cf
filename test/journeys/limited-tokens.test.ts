import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient, type SluiceClient } from '../../src/client/index.ts'
import type { Permission } from '../../src/contract/identity.ts'
import { connectApi } from './support/api.ts'
import { startTenants, type Asker, type Tenants } from '../helpers/tenants.ts'

let tenants: Tenants
beforeAll(async () => {
  tenants = await startTenants()
})
afterAll(() => tenants.stop())

const connect = (token: string): SluiceClient => createClient({ baseUrl: tenants.sluice.url, token })
const as = (asker: Asker): SluiceClient => connect(tenants.tokens[asker])

/** Somebody with only a part of what their role allows. */
async function limited(asker: Asker, ...scopes: Permission[]): Promise<SluiceClient> {
  return connect((await as(asker).createToken({ name: 'limited', scopes })).token)
}

const item = () => ({ operation: 'test.noop', input: { name: randomUUID() } })
const submit = async (client: SluiceClient) => (await client.submit('test.noop', { name: randomUUID() })).task_id
const status = async (taskId: string) => (await as('admin').getTask(taskId)).status
const forbidden = { problem: { status: 403, code: 'forbidden' } }

describe('a token does what its scopes say, whatever the role of its principal', () => {
  test('an operator’s token for tasks.cancel ends the operator’s own tasks, one by one and by filter', async () => {
    const token = await limited('operator', 'tasks.request', 'tasks.cancel')
    const [theirs, own, another] = [await submit(as('requester')), await submit(token), await submit(token)]
    await expect(token.cancelTask(theirs)).rejects.toMatchObject(forbidden)
    await token.cancelTask(own)
    const all = { operation: ['test.noop'] }
    expect(await token.cancelTasks(all, { dryRun: true })).toMatchObject({ matched: 1 })
    expect(await token.cancelTasks(all)).toMatchObject({ matched: 1, done: 1 })
    expect([await status(theirs), await status(own), await status(another)]).toEqual([
      'AWAITING_APPROVAL',
      'CANCELLED',
      'CANCELLED',
    ])
    expect(await as('operator').cancelTasks({ task_ids: [theirs] })).toMatchObject({ matched: 1, done: 1 })
  })

  test('nor does it try other people’s tasks again by filter, or replay their dead letters', async () => {
    const theirs = await submit(as('requester'))
    await as('requester').cancelTask(theirs)
    const token = await limited('admin', 'tasks.request')
    const filter = { task_ids: [theirs] }
    expect(await token.retryTasks(filter, { dryRun: true })).toMatchObject({ matched: 0 })
    expect(await token.retryTasks(filter)).toMatchObject({ matched: 0, done: 0 })
    expect(await token.replayDeadLetters(filter)).toMatchObject({ matched: 0, done: 0 })
    expect(await as('admin').retryTasks(filter)).toMatchObject({ matched: 1, done: 1 })
  })

  test('nor other people’s batches', async () => {
    const { batch_id } = await as('requester').submitBatch({ items: [item(), item()] })
    const token = await limited('operator', 'tasks.request', 'tasks.cancel')
    await expect(token.cancelBatch(batch_id)).rejects.toMatchObject(forbidden)
    await expect(token.retryBatch(batch_id)).rejects.toMatchObject(forbidden)
    expect(await as('operator').cancelBatch(batch_id)).toMatchObject({ matched: 2, done: 2 })
  })

  test('an admin’s token for schedules.write changes the admin’s own schedules', async () => {
    const made = await as('requester').createSchedule({ name: 'theirs', ...item(), cron: '0 2 * * *' })
    const token = await limited('admin', 'schedules.read', 'schedules.write')
    for (const change of [
      () => token.pauseSchedule(made.schedule_id),
      () => token.resumeSchedule(made.schedule_id),
      () => token.runSchedule(made.schedule_id),
      () => token.deleteSchedule(made.schedule_id),
    ]) {
      await expect(change()).rejects.toMatchObject(forbidden)
    }
    expect(await as('operator').pauseSchedule(made.schedule_id)).toMatchObject({ paused: true })
    const operator = await limited('operator', 'schedules.write', 'schedules.operate')
    await operator.deleteSchedule(made.schedule_id)
    expect(await token.schedules()).toEqual([])
  })

  test('a token for schedules.write asks for no change that it may not ask for directly', async () => {
    const full = await limited('requester', 'schedules.read', 'schedules.write', 'tasks.request')
    const made = await full.createSchedule({ name: 'own', ...item(), cron: '0 2 1 1 *' })
    const token = await limited('requester', 'schedules.read', 'schedules.write')
    await expect(submit(token)).rejects.toMatchObject(forbidden)
    const api = connectApi(
      tenants.sluice.url,
      (
        await as('requester').createToken({
          name: 'put',
          scopes: ['schedules.write'],
        })
      ).token,
    )
    const replacement = { name: 'own', ...item(), cron: '* * * * *' }
    expect(await api.send('PUT', `/schedules/${made.schedule_id}`, { body: replacement })).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: expect.stringContaining('tasks.request') },
    })
    await expect(token.createSchedule({ name: 'more', ...item(), cron: '* * * * *' })).rejects.toMatchObject(forbidden)
    await expect(token.runSchedule(made.schedule_id)).rejects.toMatchObject(forbidden)
    // What asks for nothing it may.
    expect(await token.pauseSchedule(made.schedule_id)).toMatchObject({ paused: true })
    await expect(token.resumeSchedule(made.schedule_id)).rejects.toMatchObject(forbidden)
    expect(await token.schedules()).toMatchObject([{ name: 'own', cron: '0 2 1 1 *', paused: true }])
    await token.deleteSchedule(made.schedule_id)
  })

  test('a token for tasks.cancel, tasks.operate or tasks.read changes nothing else', async () => {
    const theirs = await submit(as('requester'))
    const { batch_id } = await as('requester').submitBatch({ items: [item()] })
    const schedule = await as('requester').createSchedule({ name: 'kept', ...item(), cron: '0 2 1 1 *' })
    const ticket = (await as('approver').listTickets({ page_size: 1 })).items[0]
    const all = { operation: ['test.noop'] }
    const bound = { payload_hash: ticket?.payload_hash ?? '' }
    for (const scopes of [['tasks.cancel'], ['tasks.operate'], ['tasks.read'], ['schedules.operate']] as const) {
      const token = await limited('admin', ...scopes)
      for (const change of [
        () => submit(token),
        () => token.submitBatch({ items: [item()] }),
        () => token.retryTask(theirs),
        () => token.retryTasks(all),
        () => token.replayDeadLetters(all),
        () => token.retryBatch(batch_id),
        () => token.createSchedule({ name: 'new', ...item(), cron: '* * * * *' }),
        () => token.runSchedule(schedule.schedule_id),
        () => token.deleteSchedule(schedule.schedule_id),
        () => token.pauseQueue({}),
        () => token.setLimit('tenant', 'acme', { max_running: 1 }),
        () => token.listWebhooks(),
        () => token.createWebhook({ style: 'standard', url: 'https://example.com/', kinds: ['task_ended'] }),
        () => token.createToken({ name: 'more' }),
        () => token.grantRole({ principal: 'x', role: 'admin' }),
        () => token.approveTicket(ticket?.ticket_id ?? '', bound),
        () => token.rejectTicket(ticket?.ticket_id ?? '', bound),
      ]) {
        await expect(change(), `${scopes.join()}: ${String(change)}`).rejects.toMatchObject(forbidden)
      }
    }
    const token = await limited('admin', 'tasks.cancel')
    await expect(token.cancelTask(theirs)).rejects.toMatchObject(forbidden)
    await expect(token.cancelBatch(batch_id)).rejects.toMatchObject(forbidden)
    expect(await token.cancelTasks({ task_ids: [theirs] })).toMatchObject({ matched: 0 })
    await as('admin').deleteSchedule(schedule.schedule_id)
    await as('admin').cancelTasks(all)
  })

  test('one by one it tries again no more of other people’s than by filter', async () => {
    const theirs = await submit(as('requester'))
    await as('requester').cancelTask(theirs)
    const token = await limited('admin', 'tasks.request')
    await expect(token.retryTask(theirs)).rejects.toMatchObject(forbidden)
    const operating = await limited('admin', 'tasks.request', 'tasks.operate')
    await operating.retryTask(theirs)
  })

  test('pauses, limits and webhooks need their permission, also of an admin', async () => {
    const token = await limited('admin', 'queues.read', 'webhooks.read')
    await expect(token.pauseQueue({})).rejects.toMatchObject(forbidden)
    await expect(token.setLimit('tenant', 'acme', { max_running: 1 })).rejects.toMatchObject(forbidden)
    expect((await token.queues()).pauses).toEqual([])
    const operator = await limited('operator', 'queues.read', 'queues.operate')
    expect((await operator.pauseQueue({})).pauses).toMatchObject([{ paused_by: 'operator', platform: false }])
    await operator.resumeQueue()
  })
})

describe('what every tenant would feel is for those who run the platform', () => {
  const limits = async (asker: Asker) => (await as(asker).queues()).limits

  test('a tenant’s admin limits that tenant, and its share of a cluster and an operation', async () => {
    await as('admin').setLimit('tenant', 'acme', { max_running: 9 })
    await as('admin').setLimit('cluster', 'default', { max_running: 2 })
    await as('operator').setLimit('operation', 'test.noop', { per_minute: 60 })
    expect(await limits('viewer')).toMatchObject([
      { platform: false, scope: 'cluster', key: 'default' },
      { platform: false, scope: 'operation', key: 'test.noop' },
      { platform: false, scope: 'tenant', key: 'acme' },
    ])
    expect(await limits('other')).toEqual([])
    for (const { scope, key } of await limits('admin')) await as('admin').removeLimit(scope, key)
  })

  test('no admin of a tenant sets, changes or takes away what the platform set', async () => {
    const change = { max_running: 1, platform: true } as const
    for (const asker of ['admin', 'operator', 'other'] as const) {
      await expect(as(asker).setLimit('cluster', 'default', change)).rejects.toMatchObject(forbidden)
      await expect(as(asker).pauseQueue({}, { platform: true })).rejects.toMatchObject(forbidden)
    }
    await as('platform').setLimit('cluster', 'default', change)
    await as('platform').setLimit('tenant', 'acme', change)
    expect(await limits('admin')).toMatchObject([
      { platform: true, scope: 'cluster', key: 'default' },
      { platform: true, scope: 'tenant', key: 'acme' },
    ])
    expect(await limits('other')).toMatchObject([{ scope: 'cluster' }])
    await expect(as('admin').removeLimit('tenant', 'acme')).rejects.toMatchObject({ problem: { status: 404 } })
    await expect(as('admin').removeLimit('tenant', 'acme', { platform: true })).rejects.toMatchObject(forbidden)
    await as('platform').removeLimit('tenant', 'acme', { platform: true })
    await as('platform').removeLimit('cluster', 'default', { platform: true })
    expect(await limits('admin')).toEqual([])
  })

  test('the platform pauses every tenant; each sees it, and cannot resume it', async () => {
    await as('platform').pauseQueue({ reason: 'moving house' }, { platform: true })
    for (const asker of ['viewer', 'other'] as const) {
      expect((await as(asker).queues()).pauses).toMatchObject([{ platform: true, reason: 'moving house' }])
    }
    await expect(as('admin').resumeQueue()).rejects.toMatchObject({ problem: { status: 404 } })
    await as('platform').resumeQueue(undefined, { platform: true })
    expect((await as('viewer').queues()).pauses).toEqual([])
  })

  test('a token of the platform’s admin that was not given platform.operate reaches its own tenant', async () => {
    const token = await limited('platform', 'queues.operate')
    await expect(token.pauseQueue({}, { platform: true })).rejects.toMatchObject(forbidden)
    expect((await as('platform').me()).permissions).toContain('platform.operate')
    expect((await as('admin').me()).permissions).not.toContain('platform.operate')
  })
})
