import { createHash, randomUUID } from 'node:crypto'
import canonicalize from 'canonicalize'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { type TestApi, startTestApi } from '../../../test/helpers/api.ts'
import { type GovernedCore, startGovernedCore } from '../../../test/helpers/governed-core.ts'
import { defaultPolicy } from '../../approvals/default-policy.ts'
import { completed, defineOperation } from '../../operations/define-operation.ts'

const input = z.strictObject({ name: z.string(), organization: z.string() })
const thing = defineOperation({
  type: 'thing.create',
  title: 'Create a thing',
  route: { method: 'POST', path: '/things' },
  input,
  class: 'short',
  uniqueKey: ({ name }) => name,
  target: ({ name }) => `default:test/Thing//${name}`,
  organization: ({ organization }) => organization,
  perform: async () => completed({}),
  dryRun: async (_context, { name }) => ({ diff: `+ ${name}`, warnings: [] }),
})
const thingDelete = defineOperation({
  type: 'thing.delete',
  title: 'Delete a thing',
  route: { method: 'DELETE', path: '/things/:name' },
  input: z.strictObject({ name: z.string() }),
  class: 'short',
  target: ({ name }) => `default:test/Thing//${name}`,
  perform: async () => completed({}),
})

let core: GovernedCore
let api: TestApi
beforeAll(async () => {
  core = await startGovernedCore(defaultPolicy)
  api = await startTestApi(core, [thing, thingDelete])
})
afterAll(async () => {
  await api.stop()
  await core.stop()
})

const inProd = () => ({ name: `p-${randomUUID()}`, organization: 'prod' })
const ask = async (body: object = inProd()) => (await api.as('requester', 'POST /things', body)).body
const pathOf = (link: string) => link.replace('/api/v1', '')

describe('approvals over HTTP', () => {
  test('a change in prod is accepted, waits, and says for what; elsewhere it is free', async () => {
    const accepted = await api.as('requester', 'POST /things', inProd())
    expect(accepted).toMatchObject({ status: 202, body: { status: 'AWAITING_APPROVAL' } })
    const { links, task_id } = accepted.body
    expect(links.ticket).toMatch(/^\/api\/v1\/approvals\/ticket_/)
    const task = await api.as('requester', `GET /tasks/${task_id}`)
    expect(task.body).toMatchObject({
      ticket: links.ticket.split('/').at(-1),
      links: { ticket: links.ticket },
      why_waiting: expect.stringMatching(/^Needs one approval by role approver or role admin; expires \d{4}-/),
    })
    expect((await ask({ name: 'free', organization: 'acme' })).status).toBe('PENDING')
  })

  test('a replayed request has the same answer, ticket and all', async () => {
    const body = inProd()
    const key = { 'idempotency-key': randomUUID() }
    const first = await api.as('requester', 'POST /things', body, key)
    const second = await api.as('requester', 'POST /things', body, key)
    expect(second.body).toEqual(first.body)
  })

  test('the inbox shows what one may decide; the ticket shows the exact payload, its hash and a dry run', async () => {
    const body = inProd()
    const { links, task_id } = await ask(body)
    const inbox = await api.as('approver', 'GET /approvals')
    expect(inbox.body['items'].map((item: { task_id: string }) => item.task_id)).toContain(task_id)
    const own = await api.as('requester', 'GET /approvals')
    expect(own.body['items']).toEqual([])
    const mine = await api.as('requester', 'GET /approvals?mine=true')
    expect(mine.body['items'].map((item: { task_id: string }) => item.task_id)).toContain(task_id)

    const { body: ticket } = await api.as('approver', `GET ${pathOf(links.ticket)}`)
    expect(ticket).toMatchObject({
      payload: { operation: 'thing.create', input: body, options: {} },
      environment: 'prod',
      rule: 'changes-in-prod',
      may_decide: true,
      requested_by: 'requester',
      dry_run: { diff: `+ ${body.name}`, error: null },
    })
    const hash = createHash('sha256')
      .update(canonicalize(ticket['payload']) ?? '')
      .digest('hex')
    expect(ticket['payload_hash']).toBe(hash)
    expect((await api.as('requester', `GET ${pathOf(links.ticket)}`)).body).toMatchObject({ may_decide: false })
  })

  test('approve, then everything else is 409; by the requester 403; with another hash 409', async () => {
    const { links, task_id } = await ask()
    const path = pathOf(links.ticket)
    const { payload_hash, rule_digest } = (await api.as('approver', `GET ${path}`)).body
    const say = { payload_hash, rule_digest, comment: 'fine' }
    expect(await api.as('requester', `POST ${path}/approve`, say)).toMatchObject({ status: 403 })
    expect(await api.as('approver', `POST ${path}/approve`, {})).toMatchObject({ status: 422 })
    expect(await api.as('approver', `POST ${path}/approve`, { payload_hash: 'f'.repeat(64) })).toMatchObject({
      status: 409,
      body: { code: 'ticket_changed' },
    })
    expect(await api.as('approver', `POST ${path}/withdraw`)).toMatchObject({ status: 403 })
    const approved = await api.as('approver', `POST ${path}/approve`, say)
    expect(approved).toMatchObject({
      status: 200,
      body: { task: { task_id, status: 'PENDING' }, ticket: { state: 'approved', closed_by: 'approver' } },
    })
    for (const verb of ['approve', 'reject']) {
      const again = await api.as('admin', `POST ${path}/${verb}`, say)
      expect(again).toMatchObject({ status: 409, body: { code: 'ticket_closed' } })
    }
    expect(await api.as('requester', `POST ${path}/withdraw`)).toMatchObject({ status: 409 })
    expect(await api.as('approver', `GET /approvals/ticket_0000000000e008000000000000`)).toMatchObject({ status: 404 })
  })

  test('who has approved has it in the inbox no more, while another has to; the next stage hears whom it follows', async () => {
    const stages = '[{ name: one, from: { roles: [approver] } }, { name: other, from: { roles: [approver, admin] } }]'
    onTestFinished(() => core.setPolicy(defaultPolicy))
    await core.setPolicy(`version: 1\nrules: [{ name: twice, approval: { stages: ${stages} } }]`)
    const { links, task_id } = await ask()
    const path = pathOf(links.ticket)
    const inbox = async (who: 'approver' | 'admin') =>
      ((await api.as(who, 'GET /approvals')).body['items'] as { task_id: string }[]).filter(
        (ticket) => ticket.task_id === task_id,
      ).length
    expect([await inbox('approver'), await inbox('admin')]).toEqual([1, 0])
    const { payload_hash } = (await api.as('approver', `GET ${path}`)).body
    await api.as('approver', `POST ${path}/approve`, { payload_hash })
    expect([await inbox('approver'), await inbox('admin')]).toEqual([0, 1])
    const { body: told } = await api.as('admin', 'GET /notifications')
    expect(told['items'][0].title).toMatch(/waits for your approval, after that of approver$/)
  })

  test('reject and withdraw end the task, and it says why', async () => {
    const [one, two] = [await ask(), await ask()]
    await api.as('approver', `POST ${pathOf(one['links'].ticket)}/reject`, { comment: 'too late' })
    await api.as('requester', `POST ${pathOf(two['links'].ticket)}/withdraw`, { comment: 'never mind' })
    const rejected = await api.as('requester', `GET /tasks/${one['task_id']}`)
    expect(rejected.body).toMatchObject({
      status: 'REJECTED',
      done: true,
      error: { code: 'rejected', detail: 'Rejected by approver: too late' },
    })
    const withdrawn = await api.as('requester', `GET /tasks/${two['task_id']}`)
    expect(withdrawn.body).toMatchObject({ status: 'CANCELLED', error: { code: 'cancelled' } })
  })

  test('a delete in prod without the name again is 422, and the pointer says where', async () => {
    expect(await api.as('requester', 'DELETE /things/unknown')).toMatchObject({
      status: 422,
      body: { code: 'confirmation_required', errors: [{ pointer: '/task/confirm_name' }] },
    })
    const confirmed = await api.as('requester', 'DELETE /things/unknown', { task: { confirm_name: 'unknown' } })
    expect(confirmed).toMatchObject({ status: 202, body: { status: 'AWAITING_APPROVAL' } })
  })
})

describe('the ticket of a batch over HTTP', () => {
  const submit = async () => {
    const item = (body: object) => ({ operation: 'thing.create', input: body })
    const items = [item(inProd()), item({ ...inProd(), organization: 'acme' }), item(inProd()), item(inProd())]
    const { body } = await api.as('requester', 'POST /tasks/bulk', { items })
    const { body: page } = await api.as('approver', `GET /approvals?batch_id=${body['batch_id']}`)
    return { items, batchId: body['batch_id'] as string, tickets: page['items'] }
  }
  const waits = async (batchId: string) =>
    (await api.as('requester', `GET /tasks?batch_id=${batchId}&status=AWAITING_APPROVAL`)).body['items']

  test('one ticket for the items; each item, with its payload and hash, is a page away', async () => {
    const { items, batchId, tickets } = await submit()
    expect(tickets).toHaveLength(1)
    const [ticket] = tickets
    expect(ticket).toMatchObject({
      task_id: null,
      batch_id: batchId,
      payload: null,
      operation: 'thing.create',
      items: { total: 3, waiting: 3 },
      needs: expect.stringMatching(/^Needs one approval by role approver or role admin, for 3 of its batch together;/),
    })
    expect((await api.as('approver', `GET ${pathOf(ticket.links.self)}`)).body).toMatchObject({ dry_run: null })
    const first = await api.as('approver', `GET ${pathOf(ticket.links.items)}?page_size=2`)
    const rest = await api.as(
      'approver',
      `GET ${pathOf(ticket.links.items)}?page_token=${first.body['next_page_token']}`,
    )
    const listed = [...first.body['items'], ...rest.body['items']]
    expect(rest.body['next_page_token']).toBeNull()
    expect(listed.map(({ position }: { position: number }) => position)).toEqual([0, 2, 3])
    expect(listed[1]).toMatchObject({ status: 'AWAITING_APPROVAL', payload: { input: items[2]?.input, options: {} } })
    const sha = (value: unknown) =>
      createHash('sha256')
        .update(canonicalize(value) ?? '')
        .digest('hex')
    for (const { payload, payload_hash } of listed) expect(payload_hash).toBe(sha(payload))
    expect(ticket.payload_hash).toBe(sha(listed.map(({ payload_hash }: { payload_hash: string }) => payload_hash)))
    for (const task of await waits(batchId)) {
      expect(task).toMatchObject({ ticket: ticket.ticket_id, why_waiting: ticket.needs })
    }
    expect((await api.as('approver', 'GET /approvals?batch_id=none')).body['items']).toEqual([])
  })

  test('who joins an item is told its ticket', async () => {
    const { items, tickets } = await submit()
    const { body } = await api.as('admin', 'POST /things', items[0]?.input)
    expect(body).toMatchObject({ deduplicated: true, links: { ticket: tickets[0].links.self } })
  })

  test('some are rejected, by place or by task id; the rest is approved with what is left', async () => {
    const { batchId, tickets } = await submit()
    const path = pathOf(tickets[0].links.self)
    const { payload_hash } = tickets[0]
    const reject = (items: unknown[]) => api.as('approver', `POST ${path}/reject`, { items, payload_hash })
    expect(await reject([0, 1])).toMatchObject({
      status: 422,
      body: { code: 'invalid_input', errors: [{ pointer: '/items/1' }] },
    })
    expect(await reject([])).toMatchObject({ status: 422 })
    const rejected = await reject([0, (await waits(batchId))[0].task_id])
    expect(rejected).toMatchObject({
      status: 200,
      body: {
        task: null,
        batch: { batch_id: batchId, counts: { REJECTED: 2, AWAITING_APPROVAL: 1, PENDING: 1 } },
        ticket: { state: 'open', items: { total: 3, waiting: 1 }, may_decide: true },
      },
    })
    expect(await api.as('approver', `POST ${path}/approve`, { payload_hash })).toMatchObject({
      status: 409,
      body: { code: 'ticket_changed' },
    })
    const { payload_hash: left } = rejected.body['ticket']
    expect(await api.as('approver', `POST ${path}/approve`, { payload_hash: left })).toMatchObject({
      status: 200,
      body: { batch: { counts: { REJECTED: 2, PENDING: 2 } }, ticket: { state: 'approved' } },
    })
  })

  test('the requester hears once of each decision, and once of the end', async () => {
    const { batchId, tickets } = await submit()
    await api.as('approver', `POST ${pathOf(tickets[0].links.self)}/reject`, { comment: 'not now' })
    await api.as('requester', `POST /batches/${batchId}/cancel`)
    const { body } = await api.as('requester', 'GET /notifications?page_size=200')
    const mine = body['items'].filter(({ batch_id }: { batch_id: string }) => batch_id === batchId)
    expect(mine.map(({ title }: { title: string }) => title)).toEqual([
      'A batch is FAILED',
      '3 changes of a batch were rejected by approver',
    ])
    const theirs = (await api.as('approver', 'GET /notifications?page_size=200')).body['items']
    expect(theirs.filter(({ batch_id }: { batch_id: string }) => batch_id === batchId)).toMatchObject([
      {
        kind: 'approval_pending',
        ticket_id: tickets[0].ticket_id,
        title: '3 changes of a batch wait for your approval, asked for by requester',
      },
    ])
  })
})

describe('policies over HTTP', () => {
  test('the dry run and explain tell which rule a request would meet', async () => {
    const dry = await api.as('requester', 'POST /things/dry-run', inProd())
    expect(dry).toMatchObject({ status: 200, body: { approval: { required: true, rule: 'changes-in-prod' } } })
    const free = await api.as('requester', 'POST /things/dry-run', { name: 'x', organization: 'acme' })
    expect(free.body).toMatchObject({ approval: { required: false, rule: 'everything-else' } })
    const asked = { operation: 'thing.delete', input: { name: 'nobody-knows-it' } }
    expect((await api.as('requester', 'POST /policies/explain', asked)).body).toMatchObject({
      outcome: 'approval',
      environment: 'prod',
      rule: 'changes-in-prod',
    })
  })

  test('GET /policies shows the version that a file has just brought', async () => {
    const before = (await api.as('admin', 'GET /policies')).body
    await core.setPolicy(`${defaultPolicy}# changed\n`)
    const after = (await api.as('admin', 'GET /policies')).body
    expect(after['version']).toBe(before['version'] + 1)
    expect(after['source']).toContain('# changed')
    expect(after['history'].map(({ version }: { version: number }) => version)).toContain(before['version'])
  })

  test('what the policy denies is 403 with its reason, and the OpenAPI document has the routes', async () => {
    await core.setPolicy(`version: 1\nrules: [{ name: closed, deny: We are moving. }]`)
    expect(await api.as('requester', 'POST /things', inProd())).toMatchObject({
      status: 403,
      body: { code: 'policy_denied', detail: 'The policy refuses it: We are moving.' },
    })
    await core.setPolicy(defaultPolicy)
    const { body } = await api.as('requester', 'GET /openapi.json')
    expect(Object.keys(body['paths'])).toEqual(
      expect.arrayContaining(['/api/v1/approvals', '/api/v1/approvals/{ticket}/approve', '/api/v1/policies/explain']),
    )
  })
})
