import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createClient, type SluiceClient } from '../../src/client/index.ts'
import { fromWireId, toWireId } from '../../src/contract/ids.ts'
import type { Role } from '../../src/contract/identity.ts'
import { createDatabase, type Database } from '../../src/database/database.ts'
import { createToken } from '../../src/identity/tokens.ts'
import { completed, defineOperation } from '../../src/operations/define-operation.ts'
import { startTenants, type Tenants } from '../helpers/tenants.ts'
import { until } from '../helpers/until.ts'
import { connectApi } from './support/api.ts'

const policy = (ofBank: string) => `version: 1
environments:
  - { environment: ${ofBank}, organizations: [bank] }
  - { environment: dev, organizations: [lab] }
rules:
  - { name: two, when: 'input.name.startsWith("two")', approval: { quorum: 2 } }
  - { name: everything, approval: { quorum: 1 } }
`
const fields = { name: z.string(), organization: z.string() }
const box = (verb: 'create' | 'change') =>
  defineOperation({
    type: `box.${verb}`,
    title: 'A box',
    input: z.strictObject(fields),
    class: 'short',
    uniqueKey: ({ name }) => name,
    target: ({ name }) => `default:test/Box//${name}`,
    organization: ({ organization }) => organization,
    perform: async () => completed({}),
    dryRun: async () => ({ diff: '', warnings: [] }),
  })

let folder: string
let tenants: Tenants
let database: Database
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-policy-'))
  const policyFile = join(folder, 'policy.yaml')
  await writeFile(policyFile, policy('prod'))
  tenants = await startTenants({ operations: [box('create'), box('change')], policyFile })
  database = createDatabase({ url: tenants.databaseUrl, poolMax: 2, poolMin: 0 })
})
afterAll(async () => {
  await tenants.stop()
  await database.stop()
  await rm(folder, { recursive: true })
})

const connect = (token: string): SluiceClient => createClient({ baseUrl: tenants.sluice.url, token })
const admin = () => connect(tenants.tokens.admin)

/** Somebody who has these roles, each in some environments or, without any, everywhere. */
async function person(
  held: Partial<Record<Role, string[]>>,
): Promise<{ name: string; client: SluiceClient; token: string }> {
  const name = `p-${randomUUID().slice(0, 8)}`
  for (const [role, environments] of Object.entries(held) as [Role, string[]][])
    await admin().grantRole({ principal: name, role, ...(environments.length > 0 && { environments }) })
  const made = await createToken(database, { tenant: 'acme', actor: 'founder', principal: name, name: 'test' })
  return { name, client: connect(made.token), token: made.token }
}

const uuid = (taskId: string): string => fromWireId('task', taskId) ?? ''
const input = (organization: string) => ({ name: `b-${randomUUID().slice(0, 8)}`, organization })
const ask = async (client: SluiceClient, organization: string) =>
  (await client.submit('box.create', input(organization))).task_id
const ticketOf = (taskId: string) => toWireId('ticket', uuid(taskId))
const status = async (taskId: string) => (await admin().getTask(taskId)).status
const forbidden = (text: string) => ({
  problem: { status: 403, code: 'forbidden', detail: expect.stringContaining(text) as string },
})

describe('a role that holds in some environments', () => {
  test('is given, listed, changed and told: /me, the list, the audit', async () => {
    const { name, client } = await person({ requester: ['test', 'dev', 'dev'], viewer: [] })
    expect(await client.me()).toMatchObject({
      roles: ['requester', 'viewer'],
      role_environments: { requester: ['dev', 'test'] },
    })
    const listed = async () =>
      (await admin().listRoleBindings({ pageSize: 200 })).items.filter(({ principal }) => principal === name)
    expect(await listed()).toMatchObject([{ environments: ['dev', 'test'] }, { environments: null }])
    await admin().grantRole({ principal: name, role: 'requester' })
    expect(await listed()).toMatchObject([{ environments: null }, { environments: null }])
    await until(async () => Object.keys((await client.me()).role_environments).length === 0)
    for (const environments of [[], ['Not One'], ['test', '']]) {
      const refused = admin().grantRole({ principal: name, role: 'requester', environments })
      await expect(refused).rejects.toMatchObject({ problem: { status: 422, code: 'invalid_input' } })
    }
  })

  test('a requester in test asks there only: for one, many, again, a dry run, on a schedule', async () => {
    const { name, client, token } = await person({ requester: ['test'] })
    const why = `${name} may ask for changes in test only, and this one is in prod.`
    const prod = input('bank')
    const mine = await ask(client, 'here')
    await expect(client.submit('box.create', prod)).rejects.toMatchObject(forbidden(why))
    const api = connectApi(tenants.sluice.url, token)
    const dry = await api.send('POST', '/tasks/dry-run', { body: { operation: 'box.create', input: prod } })
    expect(dry).toMatchObject({ status: 403, body: { code: 'forbidden', detail: why } })
    const items = [
      { operation: 'box.create', input: input('here') },
      { operation: 'box.create', input: prod },
    ]
    await expect(client.submitBatch({ items })).rejects.toMatchObject({
      problem: { code: 'batch_refused', errors: [{ pointer: '/items/1', message: why }] },
    })
    const schedule = { name: randomUUID(), operation: 'box.create', cron: '0 0 1 1 *' }
    await expect(client.createSchedule({ ...schedule, input: prod })).rejects.toMatchObject(forbidden(why))
    const made = await client.createSchedule({ ...schedule, input: input('here') })
    const replaced = await api.send('PUT', `/schedules/${made.schedule_id}`, { body: { ...schedule, input: prod } })
    expect(replaced).toMatchObject({ status: 403, body: { detail: why } })
    const theirs = await ask(admin(), 'bank')
    await admin().cancelTask(theirs)
    await expect(client.retryTask(theirs)).rejects.toMatchObject(forbidden('Only admin'))
    expect((await admin().listTasks({ requested_by: name })).items.map(({ task_id }) => task_id)).toEqual([mine])

    expect(await client.explainPolicy('box.create', input('here'))).toMatchObject({
      environment: 'test',
      may_request: true,
      why_not: null,
    })
    expect(await client.explainPolicy('box.create', prod)).toMatchObject({ may_request: false, why_not: why })
    expect(await connect(tenants.tokens.viewer).explainPolicy('box.create', prod)).toMatchObject({ may_request: false })
  })

  test('where a change is, configuration and records say, not who asks', async () => {
    const { client } = await person({ requester: ['test'] })
    // Nobody knows this box: the strictest environment's rules hold, whatever organization the request names.
    await expect(client.submit('box.change', input('here'))).rejects.toMatchObject(forbidden('in prod'))
    const { name } = input('lab')
    const made = (await admin().submit('box.create', { name, organization: 'lab' })).task_id
    await admin().cancelTask(made)
    // As a worker writes it down once the box is there.
    await database.pool.query(
      `insert into sluice.resources (tenant_id, cluster, api_version, kind, name, target, state, task_id)
        values ('acme', 'default', 'test/v1', 'Box', $2, 'default:test/Box//' || $2, 'present', $1)`,
      [uuid(made), name],
    )
    await expect(client.submit('box.change', { name, organization: 'here' })).rejects.toMatchObject(forbidden('in dev'))
    const { client: ofLab } = await person({ requester: ['dev'] })
    await ofLab.submit('box.change', { name, organization: 'bank' })
  })

  test('an approver in prod decides there only, and has the rest in no inbox', async () => {
    const { client } = await person({ approver: ['prod'] })
    const [prod, test] = [await ask(admin(), 'bank'), await ask(admin(), 'here')]
    const inbox = (await client.listTickets({ page_size: 200 })).items.map(({ task_id }) => task_id)
    expect([inbox.includes(prod), inbox.includes(test)]).toEqual([true, false])
    const ticket = await client.getTicket(ticketOf(test))
    const why = 'You may decide in prod only, and this is in test.'
    expect(ticket).toMatchObject({ environment: 'test', may_decide: false, why_not: why })
    const said = { payload_hash: ticket.payload_hash }
    await expect(client.approveTicket(ticket.ticket_id, said)).rejects.toMatchObject(forbidden(why))
    await expect(client.rejectTicket(ticket.ticket_id, said)).rejects.toMatchObject(forbidden(why))
    expect(await status(test)).toBe('AWAITING_APPROVAL')
    const { payload_hash } = await client.getTicket(ticketOf(prod))
    await client.approveTicket(ticketOf(prod), { payload_hash })
    expect(await status(prod)).toBe('PENDING')
  })

  test('hears of what waits where it decides, and of nothing elsewhere', async () => {
    const { client } = await person({ approver: ['prod'], requester: [] })
    const asker = await person({ requester: [] })
    const told = async (one: SluiceClient) => (await one.listNotifications({ unread: true, page_size: 200 })).items
    const before = (await told(admin())).length
    const [prod, test] = [await ask(asker.client, 'bank'), await ask(asker.client, 'here')]
    const items = [
      { operation: 'box.create', input: input('lab') },
      { operation: 'box.create', input: input('lab') },
    ]
    await asker.client.submitBatch({ items })
    expect((await told(client)).map(({ kind, task_id }) => [kind, task_id])).toContainEqual(['approval_pending', prod])
    expect((await told(client)).map(({ task_id }) => task_id)).not.toContain(test)
    expect((await told(client)).some(({ batch_id }) => batch_id !== null)).toBe(false)
    expect((await told(admin())).length).toBe(before + 3)
    expect(await told(asker.client)).toEqual([])
    const heard = (await told(client)).map(({ ticket_id }) => ticket_id ?? '')
    for (const id of heard) expect(await client.getTicket(id)).toMatchObject({ environment: 'prod' })
    expect(await client.unreadNotifications()).toBe(heard.length)
  })

  test('several roles: each where it holds', async () => {
    const { client } = await person({ approver: ['prod'], operator: ['test'], requester: ['dev'], viewer: [] })
    for (const organization of ['here', 'lab']) await ask(client, organization)
    const [test, dev] = [await ask(admin(), 'here'), await ask(admin(), 'lab')]
    await ask(admin(), 'bank')
    await client.cancelTask(test)
    await expect(client.cancelTask(dev)).rejects.toMatchObject(forbidden('cancel'))
    const inbox = await client.listTickets({ page_size: 200 })
    expect(new Set(inbox.items.map(({ environment }) => environment))).toEqual(new Set(['prod']))
  })

  test('an operator in test ends everybody’s tasks there, one by one, by filter and by batch', async () => {
    const { client } = await person({ operator: ['test'] })
    const [first, second, prod] = [await ask(admin(), 'here'), await ask(admin(), 'here'), await ask(admin(), 'bank')]
    await expect(client.cancelTask(prod)).rejects.toMatchObject(forbidden('cancel'))
    expect(await client.cancelTask(first)).toMatchObject({ task: { status: 'CANCELLED' } })
    const filter = { task_ids: [first, second, prod] }
    expect(await client.cancelTasks(filter, { dryRun: true })).toMatchObject({ matched: 1 })
    expect(await client.cancelTasks(filter)).toMatchObject({ matched: 1, done: 1 })
    const items = ['here', 'bank', 'here'].map((place) => ({ operation: 'box.create', input: input(place) }))
    const { batch_id } = await admin().submitBatch({ items })
    expect(await client.cancelBatch(batch_id)).toMatchObject({ matched: 2, done: 2 })
    expect(await status(prod)).toBe('AWAITING_APPROVAL')
  })

  test('an admin in test governs nothing of the tenant', async () => {
    const { client, name } = await person({ admin: ['test'] })
    const { permissions } = await client.me()
    expect(permissions).toEqual(expect.arrayContaining(['tasks.request', 'tasks.operate', 'approvals.decide']))
    for (const change of [
      () => client.grantRole({ principal: name, role: 'admin' }),
      () => client.createToken({ name: 'more', principal: 'admin' }),
      () => client.setLimit('tenant', 'acme', { max_running: 1 }),
      () => client.pauseQueue({}),
      () => client.listRoleBindings(),
    ]) {
      await expect(change()).rejects.toMatchObject({ problem: { status: 403, code: 'forbidden' } })
    }
    const own = await client.createToken({ name: 'mine' })
    await expect(connect(own.token).submit('box.create', input('bank'))).rejects.toMatchObject(forbidden('in prod'))
  })

  // The last: it changes the policy.
  test('a change that the policy puts elsewhere is decided by those whose role holds there', async () => {
    const [before, after] = [await person({ approver: ['prod'] }), await person({ approver: ['dev'] })]
    const asked = await admin().submit('box.create', { name: `two-${randomUUID().slice(0, 8)}`, organization: 'bank' })
    const ticketId = ticketOf(asked.task_id)
    const { payload_hash } = await before.client.getTicket(ticketId)
    await before.client.approveTicket(ticketId, { payload_hash })
    await expect(after.client.approveTicket(ticketId, { payload_hash })).rejects.toMatchObject(forbidden('in prod'))
    await writeFile(join(folder, 'policy.yaml'), policy('dev'))
    await until(async () => (await admin().getTicket(ticketId)).environment === 'dev')
    expect(await before.client.getTicket(ticketId)).toMatchObject({
      may_decide: false,
      stages: [{ approvals: 0 }],
      decisions: [{ principal: before.name, dropped: true }],
    })
    expect(await after.client.getTicket(ticketId)).toMatchObject({ may_decide: true, state: 'open' })
  })
})
