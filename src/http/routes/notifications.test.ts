import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import WebSocket from 'ws'
import { startTestApi, type TestApi } from '../../../test/helpers/api.ts'
import { noop } from '../../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../../test/helpers/governed-core.ts'
import { until } from '../../../test/helpers/until.ts'
import { toWireId } from '../../contract/ids.ts'
import { tidyInbox } from '../../notifications/inbox.ts'
import { cancelTask } from '../../tasks/cancel-task.ts'
import { decideTicket } from '../../tasks/decide-ticket.ts'
import { expireTickets } from '../../tasks/expire-tickets.ts'
import { reevaluateTickets } from '../../tasks/reevaluate-tickets.ts'

const rules = `version: 1
rules:
  - { name: held, when: 'input.name.startsWith("p-")', approval: {} }
  - { name: staged, when: 'input.name.startsWith("s-")', approval: { stages: [{ name: one, from: { roles: [approver] } }, { name: two, from: { roles: [admin] } }] } }
  - { name: rest, allow: true }
`

let core: GovernedCore
let api: TestApi
beforeAll(async () => {
  core = await startGovernedCore(rules)
  api = await startTestApi(core, [noop])
})
afterAll(async () => {
  await api.stop()
  await core.stop()
})

const ask = async (prefix: string): Promise<string> => {
  const { taskId } = await core.acceptor.accept({
    operation: noop,
    input: { name: `${prefix}-${randomUUID()}` },
    options: {},
    tenant: 'default',
    actor: 'requester',
    roles: ['requester'],
  })
  return taskId
}
const approve = (ticketId: string, name = 'approver', decision: 'approve' | 'reject' = 'approve') =>
  decideTicket(core, { tenant: 'default', ticketId, person: { name, roles: [name] }, decision })

async function inbox(who: 'requester' | 'approver' | 'admin', query = ''): Promise<{ kind: string; title: string }[]> {
  return (await api.as(who, `GET /notifications${query}`)).body['items']
}
const kinds = async (who: 'requester' | 'approver' | 'admin') =>
  (await inbox(who, '?unread=true')).map(({ kind }) => kind)
const readAll = () =>
  Promise.all((['requester', 'approver', 'admin'] as const).map((who) => api.as(who, 'POST /notifications/read-all')))

/** Ends the task as its worker would. */
async function finish(taskId: string, type: 'task.completed' | 'task.failed', data: object = {}): Promise<void> {
  await core.database.transaction({ role: 'sluice_worker' }, async (tx) => {
    for (const [name, payload] of [
      ['task.started', { claim: 1 }],
      [type, { attempt: 1, ...data }],
    ] as const) {
      await sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
        values (${taskId}::uuid, 'default', ${name}, 'worker', ${JSON.stringify(payload)}::jsonb)`.execute(tx)
    }
  })
}

describe('notifications: told in the transaction that does it', () => {
  test('approvers hear of what is pending, the requester of the decision and the end', async () => {
    await readAll()
    const taskId = await ask('p')
    expect(await kinds('approver')).toEqual(['approval_pending'])
    expect(await kinds('admin')).toEqual(['approval_pending'])
    expect(await kinds('requester')).toEqual([])
    await approve(taskId)
    await finish(taskId, 'task.completed', { result: {} })
    expect(await kinds('requester')).toEqual(['task_ended', 'approval_decided'])
    const [ended, decided] = await inbox('requester')
    expect(ended?.title).toMatch(/^test\.noop of p-.* is COMPLETED$/)
    expect(decided?.title).toMatch(/was approved by approver$/)
    expect(await kinds('approver')).toEqual(['approval_pending'])
  })

  test('a rolled back decision tells nobody', async () => {
    const taskId = await ask('p')
    await readAll()
    const queue = { ...core.queue, insert: () => Promise.reject(new Error('the queue is away')) }
    const deciding = decideTicket(
      { ...core, queue },
      {
        tenant: 'default',
        ticketId: taskId,
        person: { name: 'approver', roles: ['approver'] },
        decision: 'approve',
      },
    )
    await expect(deciding).rejects.toThrow('the queue is away')
    expect(await kinds('requester')).toEqual([])
    expect((await api.as('approver', 'GET /approvals')).body['items'].at(-1)).toMatchObject({ state: 'open' })
  })

  test('expiry, a changed rule, the next stage and a dead letter reach whom they concern', async () => {
    const [expiring, staged, dead, changing] = [await ask('p'), await ask('s'), await ask('f'), await ask('p')]
    await readAll()
    await core.database.pool.query(`update sluice.tickets set expires_at = now() where ticket_id = $1`, [expiring])
    await expireTickets({ ...core, workerId: 'w' })
    expect(await kinds('requester')).toEqual(['approval_expired'])

    await readAll()
    await approve(staged)
    expect(await kinds('admin')).toEqual(['approval_pending'])
    expect(await kinds('requester')).toEqual([])

    await readAll()
    await finish(dead, 'task.failed', { dead_lettered: true, error: { detail: 'gone' } })
    expect([await kinds('requester'), await kinds('admin'), await kinds('approver')]).toEqual([
      ['dead_letter'],
      ['dead_letter'],
      [],
    ])

    await readAll()
    await core.setPolicy(rules.replace('approval: {} }', 'approval: { quorum: 2 } }'))
    await reevaluateTickets({ ...core, active: core.policies.active })
    expect(await kinds('requester')).toContain('approval_changed')
    await core.setPolicy(rules)
    await cancelTask(core, { tenant: 'default', taskId: changing, actor: 'requester' })
  })

  test('who did it is not told; nobody else reads it, in no other tenant', async () => {
    await readAll()
    const taskId = await ask('p')
    await cancelTask(core, { tenant: 'default', taskId, actor: 'requester' })
    expect(await kinds('requester')).toEqual([])
    const { rows } = await core.database.pool.query(
      `select distinct split_part(unnest(recipients), '/', 1) tenant from sluice.notifications`,
    )
    expect(rows).toEqual([{ tenant: 'default' }])
  })
})

describe('the inbox', () => {
  test('pages, unread count, read, read all', async () => {
    await readAll()
    for (let i = 0; i < 3; i++) await ask('p')
    expect((await api.as('approver', 'GET /notifications/unread-count')).body).toEqual({ unread: 3 })
    const first = (await api.as('approver', 'GET /notifications?unread=true&page_size=2')).body
    const second = (
      await api.as('approver', `GET /notifications?unread=true&page_size=2&page_token=${first['next_page_token']}`)
    ).body
    const ids = [...first['items'], ...second['items']].map((item: { notification_id: string }) => item.notification_id)
    expect(new Set(ids).size).toBe(3)
    expect(second['next_page_token']).toBeNull()
    expect(await api.as('approver', `POST /notifications/${ids[0]}/read`)).toMatchObject({ status: 204 })
    expect(await api.as('requester', `POST /notifications/${ids[1]}/read`)).toMatchObject({ status: 404 })
    // Each of those whom it concerns reads for themselves.
    expect((await api.as('approver', 'GET /notifications/unread-count')).body).toEqual({ unread: 2 })
    expect((await api.as('admin', 'GET /notifications/unread-count')).body).toEqual({ unread: 3 })
    expect((await api.as('approver', 'POST /notifications/read-all')).body).toEqual({ marked: 2 })
    expect((await api.as('approver', 'GET /notifications/unread-count')).body).toEqual({ unread: 0 })
  })

  test('what one mutes does not show', async () => {
    await readAll()
    await api.as('approver', 'PUT /notifications/preferences', { muted: ['approval_pending'] })
    await ask('p')
    expect(await kinds('approver')).toEqual([])
    expect((await api.as('approver', 'GET /notifications/preferences')).body).toEqual({ muted: ['approval_pending'] })
    await api.as('approver', 'PUT /notifications/preferences', { muted: [] })
    expect(await kinds('approver')).toEqual(['approval_pending'])
    expect(await api.as('approver', 'PUT /notifications/preferences', { muted: ['weather'] })).toMatchObject({
      status: 422,
    })
  })

  test('after 90 days it is cleaned up, read marks and deliveries too, a few at a time', async () => {
    const count = async () => {
      const { rows } = await core.database.pool.query<{ kept: number; reads: number; deliveries: string[] }>(
        `select (select count(*)::int from sluice.notifications where data->>'operation' = 'old') as kept,
          (select count(*)::int from sluice.notification_reads where principal = 'old') as reads,
          array(select state from sluice.deliveries where tenant_id = 'old' order by state) as deliveries`,
      )
      return rows[0]
    }
    await core.database.pool.query(
      `with hook as (insert into sluice.webhooks (webhook_id, tenant_id, style, url, kinds, created_by)
          values (gen_random_uuid(), 'old', 'standard', 'https://example.com', '{}', 'old') returning webhook_id),
        made as (insert into sluice.notifications (seq, tenant_id, kind, recipients, data, created_at, dispatched_at)
          select i, 'old', 'task_ended', '{old/principal:old}', '{"operation": "old"}',
            now() - make_interval(days => case when i <= 25 then 90 else 89 end, secs => 60), now()
          from generate_series(1, 30) i returning *),
        reads as (insert into sluice.notification_reads (notification_id, tenant_id, principal)
          select notification_id, 'old', 'old' from made)
      insert into sluice.deliveries (delivery_id, tenant_id, webhook_id, notification_id, body, state, created_at)
        select gen_random_uuid(), 'old', webhook_id, notification_id, '{}', case seq when 1 then 'pending' else 'failed' end,
          created_at from made, hook`,
    )
    expect(await count()).toMatchObject({ kept: 30, reads: 30 })
    expect(await tidyInbox(core.database, 10)).toBe(25)
    // What is under way is kept, and ends.
    expect(await count()).toEqual({
      kept: 5,
      reads: 5,
      deliveries: ['failed', 'failed', 'failed', 'failed', 'failed', 'pending'],
    })
    // At most twenty batches at once: the next call goes on.
    await core.database.pool.query(
      `insert into sluice.notifications (seq, tenant_id, kind, recipients, data, created_at, dispatched_at)
        select i, 'old', 'task_ended', '{old/principal:old}', '{"operation": "old"}', now() - interval '91 days', now()
        from generate_series(1, 50) i`,
    )
    expect(await tidyInbox(core.database, 2)).toBe(40)
    expect(await tidyInbox(core.database, 2)).toBe(10)
    expect(await count()).toMatchObject({ kept: 5 })
  })
})

describe('live', () => {
  test('arrives over the live connection, and after a reconnect with the cursor nothing is missed or repeated', async () => {
    const url = (await api.app.listen({ host: '127.0.0.1', port: 0 })).replace('http', 'ws')
    const connect = async (cursor?: string) => {
      const socket = new WebSocket(`${url}/api/v1/live`, {
        headers: { authorization: `Bearer ${api.tokens.approver}` },
      })
      // Whatever arrives; a wrong expectation fails the test.
      // oxlint-disable-next-line typescript/no-explicit-any
      const messages: any[] = []
      socket.on('message', (data) => messages.push(JSON.parse(String(data))))
      await new Promise((resolve) => socket.once('open', resolve))
      socket.send(
        JSON.stringify({ subscribe: { id: 'n', kind: 'notifications' }, ...(cursor !== undefined && { cursor }) }),
      )
      await until(() => messages.some((message) => message.ready))
      return { socket, events: () => messages.flatMap((message) => (message.event ? [message.event] : [])) }
    }
    // By their tasks: what an earlier test made may still be on its way to the first connection, never to the second.
    const about = ({ events }: Awaited<ReturnType<typeof connect>>) => events().map((event) => event.data.data.task_id)
    const first = await connect()
    const ticket = await ask('p')
    const one = toWireId('task', ticket)
    await ask('free')
    await until(() => about(first).includes(one))
    const told = first.events().find((event) => event.data.data.task_id === one)
    expect(told).toMatchObject({
      type: 'notification.created',
      data: { data: { kind: 'approval_pending', title: expect.stringMatching(/waits for your approval/) } },
    })
    first.socket.terminate()
    await approve(ticket, 'admin')
    const missed = toWireId('task', await ask('p'))
    const second = await connect(told.cursor)
    const live = toWireId('task', await ask('p'))
    await until(() => about(second).includes(live))
    expect(about(second)).toEqual([missed, live])
    const cursors = second.events().map((event) => BigInt(event.cursor))
    expect(cursors).toEqual(cursors.toSorted((a, b) => Number(a - b)))
    second.socket.terminate()
  })
})
