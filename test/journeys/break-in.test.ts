import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromWireId, toWireId } from '../../src/contract/ids.ts'
import { createDatabase, type Database } from '../../src/database/database.ts'
import { problem } from '../../src/tasks/decide-ticket.ts'
import { kubeconfig } from '../helpers/kubeconfigs.ts'
import { startTenants, type Tenants } from '../helpers/tenants.ts'
import { until } from '../helpers/until.ts'
import { accepted, type Answer, connectApi } from './support/api.ts'
import { openLiveSocket } from './support/live-socket.ts'

/** Stands in the name of everything that belongs to `acme`. */
const mark = `mark${randomBytes(6).toString('hex')}`
const policy = `version: 1
rules:
  - { name: held, when: 'input.name.contains("held")', approval: {} }
  - { name: rest, allow: true }
`

let folder: string
let tenants: Tenants
let database: Database
/** Ids of what is acme's, by what it is. */
let theirs: Theirs
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-policy-'))
  await writeFile(join(folder, 'policy.yaml'), policy)
  tenants = await startTenants({ secretKey: randomBytes(32), policyFile: join(folder, 'policy.yaml') })
  database = createDatabase({ url: tenants.databaseUrl, poolMax: 2, poolMin: 0 })
  theirs = await furnish()
})
afterAll(async () => {
  await tenants.stop()
  await database.stop()
  await rm(folder, { recursive: true })
})

// Whatever the answer is; a wrong expectation fails the test.
// oxlint-disable-next-line typescript/no-explicit-any
type Body = any
const ask = (who: 'requester' | 'admin' | 'other', line: string, body?: unknown, headers?: Record<string, string>) => {
  const [method = '', path = ''] = line.split(' ')
  return connectApi(tenants.sluice.url, tenants.tokens[who]).send(method, path, {
    ...(body !== undefined && { body }),
    ...(headers && { headers }),
  })
}
async function make(line: string, body: unknown, who: 'requester' | 'admin' = 'admin'): Promise<Body> {
  const answer = await ask(who, line, body)
  if (answer.status >= 300) throw new Error(`${line}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body
}
const change = (name: string) => ({ operation: 'test.noop', input: { name } })
const named = (what: string) => `${mark}-${what}`
const failure = { ...problem('expired', 'Failed', named('error')), code: 'failed' }
const uuid = (wireId: string) => fromWireId('task', wireId) ?? ''

interface Theirs {
  readonly pending: string
  readonly held: string
  readonly dead: string
  readonly done: string
  readonly batch: string
  readonly schedule: string
  readonly webhook: string
  readonly delivery: string
  readonly notification: string
  readonly token: string
}

/** Some of everything for acme: under way, held, dead, done, a batch, a schedule, a cluster, a webhook with a delivery. */
async function furnish(): Promise<Theirs> {
  const submit = async (name: string): Promise<string> => (await make('POST /tasks', change(named(name)))).task_id
  const [pending, held, dead, done] = [
    await submit('pending'),
    await submit('held'),
    await submit('dead'),
    await submit('done'),
  ]
  await end(dead, 'task.failed', { dead_lettered: true, error: failure })
  await end(done, 'task.completed', { result: { is: named('result') } })
  await database.pool.query(
    `insert into sluice.resources (tenant_id, cluster, api_version, kind, name, target, state, task_id)
      values ('acme', 'default', 'test/v1', 'Thing', $2, 'default:test/Thing//' || $2, 'present', $1)`,
    [uuid(done), named('done')],
  )
  const { batch_id: batch } = await make('POST /tasks/bulk', {
    items: [change(named('batch-held')), change(named('b'))],
  })
  const every = { name: named('schedule'), ...change(named('scheduled')), cron: '0 2 1 1 *' }
  const { schedule_id: schedule } = await make('POST /schedules', every)
  await make('POST /clusters', { name: mark, kubeconfig: kubeconfig({ user: { token: 'x' } }) })
  const { webhook_id: webhook } = await make('POST /webhooks', { url: `https://1.1.1.1/${mark}` })
  const delivery = randomUUID()
  await database.pool.query(
    `insert into sluice.deliveries (delivery_id, tenant_id, webhook_id, notification_id, body, state)
      values ($1, 'acme', $2, gen_random_uuid(), jsonb_build_object('type', 'task_ended', 'timestamp', now(), 'data',
        jsonb_build_object('target', $3::text)), 'failed')`,
    [delivery, fromWireId('webhook', webhook), mark],
  )
  const inbox = await ask('admin', 'GET /notifications')
  return {
    ...{ pending, held, dead, done, batch, schedule, webhook },
    delivery: toWireId('delivery', delivery),
    notification: (inbox.body as Body).items[0].notification_id,
    token: tenants.tokenIds.viewer,
  }
}

/** Ends the task as its worker would. */
async function end(taskId: string, type: string, data: object): Promise<void> {
  await database.transaction({ role: 'sluice_worker' }, async (tx) => {
    for (const [name, payload] of [
      ['task.started', { claim: 1 }],
      [type, { attempt: 1, ...data }],
    ] as const)
      await sql`insert into sluice.domain_events (task_id, tenant_id, type, actor, payload)
        values (${uuid(taskId)}::uuid, 'acme', ${name}, 'worker', ${JSON.stringify(payload)}::jsonb)`.execute(tx)
  })
}

const says = ({ status, body }: Answer): string => `${status} ${typeof body === 'string' ? body : JSON.stringify(body)}`
/** Everything that acme has, as the database holds it. */
async function snapshot(): Promise<unknown> {
  const { rows } = await database.pool.query(
    `select (select jsonb_agg(to_jsonb(t) order by task_id) from sluice.tasks t where tenant_id = 'acme') as tasks,
      (select count(*) from sluice.domain_events where tenant_id = 'acme') as events,
      (select jsonb_agg(to_jsonb(k) order by ticket_id) from sluice.tickets k where tenant_id = 'acme') as tickets,
      (select jsonb_agg(to_jsonb(s)) from sluice.schedules s where tenant_id = 'acme') as schedules,
      (select jsonb_agg(to_jsonb(w)) from sluice.webhooks w where tenant_id = 'acme') as webhooks,
      (select count(*) from sluice.deliveries where tenant_id = 'acme') as deliveries,
      (select count(*) from sluice.notification_reads where tenant_id = 'acme') as reads,
      (select jsonb_agg(to_jsonb(c)) from sluice.clusters c where tenant_id = 'acme') as clusters,
      (select count(*) from sluice.api_tokens where tenant_id = 'acme' and revoked_at is null) as tokens,
      (select count(*) from sluice.role_bindings where tenant_id = 'acme') as roles`,
  )
  return rows[0]
}

describe('an admin of another tenant tries to get in', () => {
  test('no list, filter, search, export or page shows anything of ours', async () => {
    const filters = [
      '',
      `q=${mark}`,
      `q=${theirs.pending}`,
      `q=%25`,
      `batch_id=${theirs.batch}`,
      `schedule_id=${theirs.schedule}`,
      'requested_by=admin',
      'operation=test.noop',
      `target=default:test/Thing//${named('pending')}`,
      'dead_lettered=true',
      `page_token=${theirs.done}`,
      'created_after=2000-01-01T00:00:00Z',
    ]
    const paths = [
      ...filters.flatMap((filter) => [`/tasks?${filter}`, `/dead-letters?${filter}`]),
      ...['', `page_token=${theirs.batch}`].map((query) => `/batches?${query}`),
      ...['open', 'approved', 'cancelled'].flatMap((state) => [
        `/approvals?state=${state}`,
        `/approvals?state=${state}&mine=true`,
        `/approvals?state=${state}&batch_id=${theirs.batch}`,
      ]),
      ...['', `name=${named('done')}`, 'kind=Thing', 'drift=any'].map((query) => `/resources?${query}`),
      ...['/audit', '/audit?page_size=200', `/audit?task_id=${theirs.done}`, '/audit?actor=admin'],
      ...['/audit/export', '/audit/export?format=csv', '/audit/head', '/audit/verify'],
      ...['/schedules', '/webhooks', '/clusters', '/notifications', '/tokens', '/role-bindings'],
      ...['/queues', '/workers', '/me', '/operations', '/policies', '/notifications/unread-count'],
    ]
    const ids = Object.values(theirs).map((id) => fromWireId(id.split('_')[0] as 'task', id) ?? id)
    const leaks: string[] = []
    for (const path of paths) {
      const mine = says(await ask('other', `GET ${path}`))
      for (const secret of [mark, ...Object.values(theirs), ...ids]) {
        // What was asked for may be said again, in a refusal.
        if (mine.includes(secret) && !(path.includes(secret) && mine.startsWith('4'))) leaks.push(`${path}: ${mine}`)
      }
    }
    expect(leaks).toEqual([])
    // The same paths show it to whom it belongs.
    for (const path of ['/tasks', '/dead-letters', '/resources', '/audit', '/audit/export', '/schedules', '/clusters'])
      expect(says(await ask('admin', `GET ${path}`)), path).toContain(mark)
  })

  test('nothing of ours is there by its id, and nothing that is tried changes it', async () => {
    const before = await snapshot()
    const { pending, held, dead, done, batch, schedule, webhook, delivery, notification, token } = theirs
    const ticket = toWireId('ticket', uuid(held))
    const decision = { payload_hash: '0'.repeat(64) }
    const own = (await ask('other', 'POST /webhooks', { url: 'https://1.1.1.1/own' })).body as Body
    const lines: readonly (readonly [string, unknown?])[] = [
      ...[pending, held, dead, done].flatMap(
        (id) =>
          [
            [`GET /tasks/${id}`],
            [`GET /tasks/${id}?wait=1`],
            [`GET /tasks/${id}/result`],
            [`GET /tasks/${id}/events`],
            [`POST /tasks/${id}/cancel`],
            [`POST /tasks/${id}/retry`],
            [`GET /dead-letters/${id}`],
            [`POST /dead-letters/${id}/replay`],
          ] as const,
      ),
      [`GET /batches/${batch}`],
      [`POST /batches/${batch}/cancel`],
      [`POST /batches/${batch}/retry`],
      [`GET /approvals/${ticket}`],
      [`GET /approvals/${ticket}/items`],
      [`POST /approvals/${ticket}/approve`, decision],
      [`POST /approvals/${ticket}/reject`, decision],
      [`POST /approvals/${ticket}/withdraw`, {}],
      [`GET /schedules/${schedule}`],
      [`PUT /schedules/${schedule}`, { name: 'x', ...change('x'), cron: '* * * * *' }],
      ...['pause', 'resume', 'run'].map((verb) => [`POST /schedules/${schedule}/${verb}`] as const),
      [`DELETE /schedules/${schedule}`],
      [`PATCH /webhooks/${webhook}`, { url: 'https://1.1.1.1/evil' }],
      [`POST /webhooks/${webhook}/rotate`],
      [`DELETE /webhooks/${webhook}`],
      [`GET /webhooks/${webhook}/deliveries`],
      [`POST /webhooks/${webhook}/deliveries/${delivery}/replay`],
      // Their message, to an endpoint of one's own.
      [`POST /webhooks/${own.webhook_id}/deliveries/${delivery}/replay`],
      [`POST /notifications/${notification}/read`],
      [`GET /clusters/${mark}`],
      [`PUT /clusters/${mark}`, { kubeconfig: kubeconfig({ user: { token: 'y' } }) }],
      [`DELETE /clusters/${mark}`],
      [`DELETE /tokens/${token}`],
      ['DELETE /role-bindings/viewer/viewer'],
      ['PUT /limits/tenant/acme', { max_running: 1 }],
      ['DELETE /limits/tenant/acme'],
    ]
    const wrong: string[] = []
    for (const [line, body] of lines) {
      const answer = await ask('other', line, body)
      if (answer.status !== 404) wrong.push(`${line}: ${says(answer)}`)
    }
    expect(wrong).toEqual([])
    expect(lines.length).toBeGreaterThanOrEqual(60)
    expect(await snapshot()).toEqual(before)
  })

  test('actions on many match nothing of ours', async () => {
    const before = await snapshot()
    const tasks = [theirs.pending, theirs.held, theirs.dead]
    for (const filter of [
      { task_ids: tasks },
      { batch_id: theirs.batch },
      { schedule_id: theirs.schedule },
      { requested_by: 'admin' },
      { q: mark },
      { q: '' },
      { operation: ['test.noop'] },
      { created_after: '2000-01-01T00:00:00Z' },
    ]) {
      for (const line of ['POST /tasks/cancel', 'POST /tasks/retry', 'POST /dead-letters/replay'])
        for (const dry_run of [true, false])
          expect((await ask('other', line, { filter, dry_run })).body, line).toMatchObject({ matched: 0, done: 0 })
    }
    expect((await ask('other', 'POST /dead-letters/replay', {})).body).toMatchObject({ matched: 0, done: 0 })
    expect(await snapshot()).toEqual(before)
  })

  test('the same unique key, target or idempotency key neither joins nor finds ours, nor is in its way', async () => {
    const same = change(named('pending'))
    const key = { 'idempotency-key': `key-${mark}` }
    const first = accepted(await ask('admin', 'POST /tasks', change(named('keyed')), key))
    const mine = accepted(await ask('other', 'POST /tasks', same))
    expect(mine).not.toHaveProperty('deduplicated')
    expect(mine.task_id).not.toBe(theirs.pending)
    const keyed = accepted(await ask('other', 'POST /tasks', change('otherwise'), key))
    expect(keyed.task_id).not.toBe(first.task_id)
    // Another principal of the same tenant does not get the answer to somebody's key either.
    const sibling = accepted(await ask('requester', 'POST /tasks', change('sibling'), key))
    expect(sibling.task_id).not.toBe(first.task_id)
    const { body } = await ask('admin', `GET /tasks/${theirs.pending}`)
    expect(body).toMatchObject({ joined_by: [], requested_by: 'admin' })
  })

  test('a tenant is the token’s: no header, parameter or body names another', async () => {
    const smuggled = accepted(
      await ask('other', 'POST /tasks?tenant=acme', change('smuggled'), {
        'x-tenant': 'acme',
        'sluice-tenant': 'other',
      }),
    )
    const { body } = await ask('other', `GET /tasks/${smuggled.task_id}`)
    expect(body).toMatchObject({ tenant: 'other' })
    expect((await ask('other', 'GET /tasks', undefined, { 'sluice-tenant': 'acme' })).status).toBe(404)
    expect((await ask('other', 'GET /tasks', undefined, { 'sluice-tenant': 'acme, other' })).status).toBe(404)
    for (const field of ['tenant', 'tenant_id']) {
      const answer = await ask('other', 'POST /tasks', { ...change('x'), [field]: 'acme' })
      expect([field, answer.status]).toEqual([field, 422])
    }
  })

  test('a cluster of ours is not theirs to ask for, nor to watch', async () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', namespace: 'default' } }
    const input = { cluster: mark, object }
    const answer = await ask('other', 'POST /tasks', { operation: 'resource.apply', input })
    expect(answer).toMatchObject({ status: 422, body: { code: expect.stringMatching(/unknown_(cluster|operation)/) } })
    const socket = await openLiveSocket(connectApi(tenants.sluice.url, tenants.tokens.other))
    socket.send({ subscribe: { id: 'r', kind: 'resource', cluster: mark, api_version: 'v1', object_kind: 'Pod' } })
    expect(await socket.next()).toMatchObject({ subscription: 'r', error: { code: 'unknown_cluster' } })
    socket.cut()
  })

  test('live: neither ours from the beginning, nor ours by id, nor what happens meanwhile', async () => {
    const api = connectApi(tenants.sluice.url, tenants.tokens.other)
    const socket = await openLiveSocket(api)
    socket.send({ subscribe: { id: 'all', kind: 'tasks' }, cursor: '0' })
    socket.send({ subscribe: { id: 'one', kind: 'task', task_id: theirs.pending }, cursor: '0' })
    socket.send({ subscribe: { id: 'inbox', kind: 'notifications' }, cursor: '0' })
    await ask('admin', `POST /tasks/${theirs.pending}/cancel`)
    await ask('admin', 'POST /tasks', change(named('held-again')))
    const last = accepted(await ask('other', 'POST /tasks', change('mine-last'))).task_id
    const heard = await socket.until(last, 'task.requested')
    expect(heard.filter(({ source }) => source !== '/tenants/other')).toEqual([])
    expect(JSON.stringify(heard)).not.toContain(theirs.held)
    socket.cut()
    const stream = await api.send('GET', `/tasks/${theirs.done}/events`, { headers: { accept: 'text/event-stream' } })
    expect(stream.status).toBe(404)
  })
})

describe('within a tenant nobody agrees with themselves', () => {
  const connect = (token: string) => connectApi(tenants.sluice.url, token)
  const approve = async (token: string, taskId: string): Promise<Answer> => {
    const ticket = `/approvals/${toWireId('ticket', uuid(taskId))}`
    const { payload_hash } = (await connect(token).send('GET', ticket)).body as Body
    return connect(token).send('POST', `${ticket}/approve`, { body: { payload_hash } })
  }
  const tokenOf = async (token: string, body: object): Promise<string> =>
    ((await connect(token).send('POST', '/tokens', { body: { name: 'made', ...body } })).body as Body).token
  const codeOf = ({ status, body }: Answer) => [status, (body as Body).code]

  test('not by a token for somebody else, one made with it, one of its session, nor by two steps of them', async () => {
    const { task_id: asked } = await make('POST /tasks', change(named('held-own')))
    for (const principal of ['puppet', 'string'])
      for (const role of ['approver', 'admin']) await make('POST /role-bindings', { principal, role })
    const puppet = await tokenOf(tenants.tokens.admin, { principal: 'puppet' })
    const again = await tokenOf(puppet, {})
    const { code } = (await connect(again).send('POST', '/session/codes')).body as Body
    const origin = tenants.sluice.url
    const opened = await connect('').send('POST', '/session', { body: { code }, headers: { origin } })
    const headers = {
      origin,
      cookie: opened.headers.get('set-cookie')?.split(';')[0] ?? '',
      'sluice-csrf': (opened.body as Body).csrf_token,
    }
    const ofSession = await connect('').send('POST', '/tokens', { body: { name: 'browser' }, headers })
    const twice = await tokenOf(puppet, { principal: 'string' })
    const thrice = await tokenOf(twice, {})
    for (const token of [puppet, again, (ofSession.body as Body).token, twice, thrice])
      expect(codeOf(await approve(token, asked))).toEqual([403, 'forbidden'])
    // Nor the other way round: whatever the last of them asks for, none of its makers agrees to.
    const request = await connect(thrice).send('POST', '/tasks', { body: change(named('held-puppet')) })
    for (const token of [tenants.tokens.admin, puppet])
      expect(codeOf(await approve(token, accepted(request).task_id))).toEqual([403, 'forbidden'])
    expect((await approve(tenants.tokens.approver, asked)).status).toBe(200)
  })
})

describe('within a tenant a token hears no more than its scopes', () => {
  test('the live connection asks for the permission of each kind of subscription', async () => {
    const body = { name: 'narrow', scopes: ['tasks.read'] }
    const { token } = await make('POST /tokens', body)
    const socket = await openLiveSocket(connectApi(tenants.sluice.url, token))
    socket.send({ subscribe: { id: 'n', kind: 'notifications' }, cursor: '0' })
    expect(await socket.next()).toMatchObject({ subscription: 'n', error: { code: 'forbidden' } })
    socket.send({ subscribe: { id: 'r', kind: 'resource', api_version: 'v1', object_kind: 'Pod' } })
    expect(await socket.next()).toMatchObject({ subscription: 'r', error: { code: 'forbidden' } })
    socket.send({ subscribe: { id: 't', kind: 'tasks' } })
    expect(await socket.next()).toMatchObject({ subscription: 't', ready: true })
    socket.cut()
  })

  test('a session, a code and a pass of a narrow token are as narrow, and end with it', async () => {
    const made = await make('POST /tokens', { name: 'narrow', scopes: ['tasks.read'] })
    const { code } = (await connectApi(tenants.sluice.url, made.token).send('POST', '/session/codes')).body as Body
    const origin = { origin: tenants.sluice.url }
    const opened = await connectApi(tenants.sluice.url, '').send('POST', '/session', {
      body: { code },
      headers: origin,
    })
    expect((opened.body as Body).permissions).toEqual(['self', 'tasks.read'])
    const cookie = opened.headers.get('set-cookie')?.split(';')[0] ?? ''
    const browser = (path: string) => connectApi(tenants.sluice.url, '').send('GET', path, { headers: { cookie } })
    expect((await browser('/tasks')).status).toBe(200)
    expect((await browser('/notifications')).status).toBe(403)
    await ask('admin', `DELETE /tokens/${made.token_id}`)
    await until(async () => (await browser('/tasks')).status === 401)
  })
})
