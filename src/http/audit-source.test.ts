import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestApi, type TestApi } from '../../test/helpers/api.ts'
import { noop } from '../../test/helpers/core.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { kubeconfig } from '../../test/helpers/kubeconfigs.ts'
import { fromWireId } from '../contract/ids.ts'
import { grantRole } from '../identity/role-bindings.ts'
import { createToken } from '../identity/tokens.ts'
import { builtInOperations } from '../operations/registry.ts'
import { appendEvents } from '../worker/settle.sql.ts'

const policy = `version: 1
strictest_environment: vault
environments: [{ environment: held, organizations: [held] }]
rules:
  - { name: refused, when: "has(input.name) && input.name == 'refused'", deny: not this one }
  - { name: held, when: "environment == 'held'", approval: {} }
  - { name: rest, allow: true }`

let core: GovernedCore
let api: TestApi
/** Everybody is admin here: this is about what is written, not about who may. */
const tokens: Record<string, { readonly text: string; readonly id: string }> = {}
beforeAll(async () => {
  core = await startGovernedCore(policy)
  api = await startTestApi(core, [...builtInOperations, noop], {
    mayReach: () => true,
    trustProxy: ['192.0.2.0/24'],
  })
  for (const principal of ['rita', 'anna', 'vera']) {
    const who = { tenant: 'default', principal, actor: 'founder' }
    await grantRole(core.database, { ...who, role: principal === 'vera' ? 'viewer' : 'admin' })
    const { token, shown } = await createToken(core.database, { ...who, name: 'test' })
    tokens[principal] = { text: token, id: shown.token_id }
  }
})
afterAll(async () => {
  await api.stop()
  await core.stop()
})

// Answers are whatever the step expects of them.
// oxlint-disable-next-line typescript/no-explicit-any
type Answer = { readonly status: number; readonly body: any }

async function ask(
  who: string,
  line: string,
  body?: unknown,
  { remoteAddress = '203.0.113.7', ...headers }: Record<string, string> = {},
): Promise<Answer> {
  const [method = 'GET', path = ''] = line.split(' ')
  const response = await api.app.inject({
    // The lines are this file's own.
    method: method as 'GET',
    url: `/api/v1${path}`,
    remoteAddress,
    headers: { authorization: `Bearer ${tokens[who]?.text ?? ''}`, 'sluice-reason': 'spring cleaning', ...headers },
    ...(body !== undefined && { payload: body as object }),
  })
  return { status: response.statusCode, body: response.body === '' ? {} : response.json() }
}

/** As rita, and it must work. */
async function change(line: string, body?: unknown): Promise<Answer['body']> {
  const { status, body: answer } = await ask('rita', line, body)
  if (status >= 300) throw new Error(`${line} answered ${status}: ${JSON.stringify(answer)}`)
  return answer
}

interface Logged {
  readonly type: string
  readonly actor: string
  readonly payload: Record<string, unknown>
}

async function logged(after: string): Promise<Logged[]> {
  const { rows } = await core.database.pool.query<Logged>(
    `select type, actor, payload from sluice.domain_events where seq > $1 order by seq`,
    [after],
  )
  return rows
}

async function lastSeq(): Promise<string> {
  const { rows } = await core.database.pool.query<{ seq: string }>(
    'select coalesce(max(seq), 0) as seq from sluice.domain_events',
  )
  return rows[0]?.seq ?? '0'
}

/** What a worker would write of a task that failed in the end. */
async function fail(taskId: string): Promise<void> {
  const error = { code: 'broken', detail: 'broken' }
  await core.database.transaction({ role: 'sluice_worker' }, async (tx) => {
    const event = { task_id: fromWireId('task', taskId) ?? '', tenant_id: 'default', actor: 'worker' }
    await appendEvents(tx, [{ ...event, type: 'task.failed', payload: { error, dead_lettered: true } }])
  })
}

let names = 0
const fresh = () => ({ operation: 'test.noop', input: { name: `n${++names}` } })
const request = async () => (await change('POST /tasks', fresh())).task_id as string
const held = async () =>
  (await change('POST /projects', { name: `p${++names}`, organization: 'held' })).links.ticket.split('/').at(-1)
const failed = async () => {
  const id = await request()
  await fail(id)
  return id
}
const schedule = { name: 'nightly', ...fresh(), cron: '0 2 * * *' }
const batch = async () => (await change('POST /tasks/bulk', { items: [fresh()] })).batch_id as string
const hook = async () => change('POST /webhooks', { url: 'http://127.0.0.1:1/hook' })
const confirm = (name: string) => ({ task: { confirm_name: name } })
const machine = () => `/vms/default/m${++names}`
const decided = async (verb: string) => {
  const ticket = await held()
  const { payload_hash } = (await ask('anna', `GET /approvals/${ticket}`)).body
  return () => ask('anna', `POST /approvals/${ticket}/${verb}`, { payload_hash })
}

/** Each prepares what it needs and returns the one request that is looked at. */
const mutations: Readonly<Record<string, () => Promise<() => Promise<unknown>>>> = {
  'POST /tasks': async () => () => change('POST /tasks', fresh()),
  'POST /tasks/{task_id}/cancel': async () => {
    const id = await request()
    return () => change(`POST /tasks/${id}/cancel`)
  },
  'POST /tasks/{task_id}/retry': async () => {
    const id = await failed()
    return () => change(`POST /tasks/${id}/retry`)
  },
  'POST /projects': async () => () => change('POST /projects', { name: 'one', organization: 'free' }),
  'DELETE /projects/{name}': async () => () => change('DELETE /projects/two', confirm('two')),
  'POST /vms': async () => () =>
    change('POST /vms', { name: 'm', namespace: 'default', image: 'i', cpu: 1, memory: '1Gi' }),
  'PATCH /vms/{namespace}/{name}': async () => () => change(`PATCH ${machine()}`, { cpu: 2 }),
  'DELETE /vms/{namespace}/{name}': async () => () => change('DELETE /vms/default/gone', confirm('gone')),
  'POST /vms/{namespace}/{name}/start': async () => () => change(`POST ${machine()}/start`, {}),
  'POST /vms/{namespace}/{name}/stop': async () => () => change(`POST ${machine()}/stop`, {}),
  'POST /vms/{namespace}/{name}/restart': async () => () => change(`POST ${machine()}/restart`, {}),
  'POST /dns-zones': async () => () =>
    change('POST /dns-zones', {
      name: 'z',
      namespace: 'default',
      domain_name: 'example.org',
      dns_zone_class_name: 'c',
    }),
  'DELETE /dns-zones/{namespace}/{name}': async () => () => change('DELETE /dns-zones/default/y', confirm('y')),
  'POST /approvals/{ticket}/approve': () => decided('approve'),
  'POST /approvals/{ticket}/reject': () => decided('reject'),
  'POST /approvals/{ticket}/withdraw': async () => {
    const ticket = await held()
    return () => change(`POST /approvals/${ticket}/withdraw`, {})
  },
  'POST /webhooks': async () => hook,
  'PATCH /webhooks/{webhook}': async () => {
    const { webhook_id: id } = await hook()
    return () => change(`PATCH /webhooks/${id}`, { enabled: false })
  },
  'DELETE /webhooks/{webhook}': async () => {
    const { webhook_id: id } = await hook()
    return () => change(`DELETE /webhooks/${id}`)
  },
  'POST /webhooks/{webhook}/rotate': async () => {
    const { webhook_id: id } = await hook()
    return () => change(`POST /webhooks/${id}/rotate`)
  },
  'POST /webhooks/{webhook}/deliveries/{delivery}/replay': async () => {
    const { webhook_id: id } = await hook()
    await core.database.pool.query(
      `insert into sluice.deliveries (delivery_id, tenant_id, webhook_id, notification_id, body)
       values (gen_random_uuid(), 'default', $1, gen_random_uuid(), '{"type": "task_ended"}')`,
      [fromWireId('webhook', id)],
    )
    const [delivery] = (await ask('rita', `GET /webhooks/${id}/deliveries`)).body.items
    return () => change(`POST /webhooks/${id}/deliveries/${delivery.delivery_id}/replay`)
  },
  'POST /tasks/bulk': async () => batch,
  'POST /tasks/cancel': async () => {
    await request()
    return () => change('POST /tasks/cancel', { filter: { operation: ['test.noop'] } })
  },
  'POST /tasks/retry': async () => {
    await failed()
    return () => change('POST /tasks/retry', { filter: { status: ['FAILED'] } })
  },
  'POST /batches/{batch_id}/cancel': async () => {
    const id = await batch()
    return () => change(`POST /batches/${id}/cancel`)
  },
  'POST /batches/{batch_id}/retry': async () => {
    const id = await batch()
    const [task] = (await ask('rita', `GET /tasks?batch_id=${id}`)).body.items
    await fail(task.task_id)
    return () => change(`POST /batches/${id}/retry`)
  },
  'POST /dead-letters/{task_id}/replay': async () => {
    const id = await failed()
    return () => change(`POST /dead-letters/${id}/replay`)
  },
  'POST /dead-letters/replay': async () => {
    await failed()
    return () => change('POST /dead-letters/replay', {})
  },
  'POST /queues/pause': async () => () => change('POST /queues/pause', { operation: 'vm.stop' }),
  'POST /queues/resume': async () => () => change('POST /queues/resume', { operation: 'vm.stop' }),
  'PUT /limits/{scope}/{key}': async () => () => change('PUT /limits/operation/vm.stop', { max_running: 3 }),
  'DELETE /limits/{scope}/{key}': async () => () => change('DELETE /limits/operation/vm.stop'),
  'POST /platform/queues/pause': async () => () => change('POST /platform/queues/pause', { operation: 'vm.stop' }),
  'POST /platform/queues/resume': async () => () => change('POST /platform/queues/resume', { operation: 'vm.stop' }),
  'PUT /platform/limits/{scope}/{key}': async () => () =>
    change('PUT /platform/limits/operation/vm.stop', { max_running: 3 }),
  'DELETE /platform/limits/{scope}/{key}': async () => () => change('DELETE /platform/limits/operation/vm.stop'),
  'POST /schedules': async () => () => change('POST /schedules', schedule),
  'PUT /schedules/{schedule_id}': async () => {
    const { schedule_id: id } = await change('POST /schedules', { ...schedule, name: 'changed' })
    return () => change(`PUT /schedules/${id}`, { ...schedule, name: 'changed', cron: '0 3 * * *' })
  },
  'DELETE /schedules/{schedule_id}': async () => {
    const { schedule_id: id } = await change('POST /schedules', { ...schedule, name: 'deleted' })
    return () => change(`DELETE /schedules/${id}`)
  },
  'POST /schedules/{schedule_id}/pause': async () => {
    const { schedule_id: id } = await change('POST /schedules', { ...schedule, name: 'paused' })
    return () => change(`POST /schedules/${id}/pause`)
  },
  'POST /schedules/{schedule_id}/resume': async () => {
    const { schedule_id: id } = await change('POST /schedules', { ...schedule, name: 'resumed' })
    return () => change(`POST /schedules/${id}/resume`)
  },
  'POST /schedules/{schedule_id}/run': async () => {
    const { schedule_id: id } = await change('POST /schedules', { ...schedule, name: 'run', ...fresh() })
    return () => change(`POST /schedules/${id}/run`)
  },
  'POST /tokens': async () => () => change('POST /tokens', { name: 'ci' }),
  'DELETE /tokens/{token_id}': async () => {
    const { token_id: id } = await change('POST /tokens', { name: 'short-lived' })
    return () => change(`DELETE /tokens/${id}`)
  },
  'POST /role-bindings': async () => () => change('POST /role-bindings', { principal: 'zoe', role: 'viewer' }),
  'DELETE /role-bindings/groups/{group}/{role}': async () => {
    await change('POST /role-bindings', { group: 'Team A', role: 'viewer' })
    return () => change('DELETE /role-bindings/groups/Team%20A/viewer')
  },
  'DELETE /role-bindings/{principal}/{role}': async () => () => change('DELETE /role-bindings/zoe/viewer'),
  'POST /clusters': async () => () => change('POST /clusters', { name: 'added', kubeconfig: kubeconfig() }),
  'PUT /clusters/{name}': async () => {
    await change('POST /clusters', { name: 'changed', kubeconfig: kubeconfig() })
    return () => change('PUT /clusters/changed', { kubeconfig: kubeconfig() })
  },
  'DELETE /clusters/{name}': async () => {
    await change('POST /clusters', { name: 'removed', kubeconfig: kubeconfig() })
    return () => change('DELETE /clusters/removed')
  },
  'POST /session/codes': async () => () => change('POST /session/codes'),
}

/** They change nothing that concerns anybody but the caller. */
const unrecorded = new Set([
  'POST /tasks/dry-run',
  'POST /projects/dry-run',
  'POST /vms/dry-run',
  'POST /vms/{namespace}/{name}/start/dry-run',
  'POST /vms/{namespace}/{name}/stop/dry-run',
  'POST /vms/{namespace}/{name}/restart/dry-run',
  'POST /dns-zones/dry-run',
  'POST /policies/explain',
  'POST /live/passes',
  'POST /notifications/{notification}/read',
  'POST /notifications/read-all',
  'PUT /notifications/preferences',
])
/** Below, with a cookie. */
const ofSessions = new Set(['POST /session', 'DELETE /session'])

describe('audit: the log says who, from where, with which token and why', () => {
  test('every route that is not a GET is looked at here, or changes nothing that concerns others', async () => {
    const { paths } = (await api.app.inject('/api/v1/openapi.json')).json<{ paths: Record<string, object> }>()
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods)
        .filter((method) => method !== 'get')
        .map((method) => `${method.toUpperCase()} ${path.replace('/api/v1', '')}`),
    )
    expect(routes.toSorted()).toEqual([...Object.keys(mutations), ...unrecorded, ...ofSessions].toSorted())
  })

  test.each(Object.entries(mutations))('%s', async (_route, prepare) => {
    const act = await prepare()
    const before = await lastSeq()
    await act()
    // The end of a batch is told by the database, whoever ended its last item.
    const events = (await logged(before)).filter(({ actor }) => actor !== 'sluice')
    expect(events.length).toBeGreaterThan(0)
    for (const { type, actor, payload } of events) {
      const token = tokens[actor]
      expect([type, payload['source']]).toEqual([
        type,
        {
          address: '203.0.113.7',
          via: 'token',
          token_id: token?.id ?? 'nobody’s',
          trace_id: expect.stringMatching(/^[\da-f]{32}$/),
          reason: 'spring cleaning',
        },
      ])
    }
  })

  test('a session is told of where it begins and ends, with the token it was made with', async () => {
    const { code } = await change('POST /session/codes')
    const before = await lastSeq()
    const origin = { origin: 'http://localhost', host: 'localhost' }
    const opened = await api.app.inject({ method: 'POST', url: '/api/v1/session', payload: { code }, headers: origin })
    const cookie = String(opened.headers['set-cookie']).split(';')[0] ?? ''
    const headers = { ...origin, cookie, 'sluice-csrf': opened.json<{ csrf_token: string }>().csrf_token }
    const body = { principal: 'yan', role: 'viewer' }
    await api.app.inject({ method: 'POST', url: '/api/v1/role-bindings', payload: body, headers })
    await api.app.inject({ method: 'DELETE', url: '/api/v1/session', headers })
    const events = await logged(before)
    expect(events.map(({ type }) => type)).toEqual(['session.opened', 'role.granted', 'session.closed'])
    for (const { actor, payload } of events) {
      expect(actor).toBe('rita')
      expect(payload['source']).toMatchObject({ address: '127.0.0.1', via: 'session', token_id: tokens['rita']?.id })
    }
  })

  test('behind a trusted proxy the address is the client’s; nobody else’s word for it counts', async () => {
    const seenAs = async (remoteAddress: string) => {
      const before = await lastSeq()
      await ask('rita', 'POST /tasks', fresh(), { remoteAddress, 'x-forwarded-for': '198.51.100.1, 198.51.100.2' })
      return (await logged(before)).map(({ payload }) => payload['source'])
    }
    expect(await seenAs('192.0.2.9')).toEqual([expect.objectContaining({ address: '198.51.100.2' })])
    expect(await seenAs('203.0.113.8')).toEqual([expect.objectContaining({ address: '203.0.113.8' })])
    expect(await seenAs('::ffff:203.0.113.8')).toEqual([expect.objectContaining({ address: '203.0.113.8' })])
  })

  test('who joins a task comes from somewhere, too', async () => {
    const asked = fresh()
    await change('POST /tasks', asked)
    const before = await lastSeq()
    expect((await ask('anna', 'POST /tasks', asked)).body.deduplicated).toBe(true)
    expect(await logged(before)).toMatchObject([
      {
        type: 'task.joined',
        actor: 'anna',
        payload: { source: { address: '203.0.113.7', token_id: tokens['anna']?.id } },
      },
    ])
  })

  test('a reason that is no line of text is refused, and nothing is written', async () => {
    const before = await lastSeq()
    for (const reason of ['%zz', 'a%0Ab', 'x'.repeat(501)]) {
      const answer = await ask('rita', 'POST /tasks', fresh(), { 'sluice-reason': reason })
      expect([answer.status, answer.body.code]).toEqual([400, 'malformed_request'])
    }
    const umlaut = encodeURIComponent('Räumung')
    expect((await ask('rita', 'POST /tasks', fresh(), { 'sluice-reason': umlaut })).status).toBe(202)
    const [event, ...more] = await logged(before)
    expect([event?.payload['source'], more]).toEqual([expect.objectContaining({ reason: 'Räumung' }), []])
  })

  test('a timeline does not show where its requests came from', async () => {
    const id = await request()
    const { body } = await ask('vera', `GET /tasks/${id}/events`)
    expect(body.items).toHaveLength(1)
    expect(JSON.stringify(body)).not.toContain('203.0.113.7')
  })
})

describe('audit: what was refused', () => {
  const denied = async (before: string) => (await logged(before)).filter(({ type }) => type === 'request.denied')

  test.each([
    ['by the role', 'vera', 'POST /tasks', fresh(), 'forbidden', '/api/v1/tasks'],
    [
      'by the policy',
      'rita',
      'POST /tasks',
      { operation: 'test.noop', input: { name: 'refused' } },
      'policy_denied',
      '/api/v1/tasks',
    ],
  ])('%s', async (_by, who, line, body, code, route) => {
    const before = await lastSeq()
    expect((await ask(who, line, body)).status).toBe(403)
    expect(await denied(before)).toEqual([
      {
        type: 'request.denied',
        actor: who,
        payload: expect.objectContaining({
          method: 'POST',
          route,
          code,
          source: expect.objectContaining({ address: '203.0.113.7', token_id: tokens[who]?.id }),
        }),
      },
    ])
  })

  test('because it is one’s own request', async () => {
    const ticket = await held()
    const { payload_hash } = (await ask('rita', `GET /approvals/${ticket}`)).body
    const before = await lastSeq()
    expect((await ask('rita', `POST /approvals/${ticket}/approve`, { payload_hash })).status).toBe(403)
    expect(await denied(before)).toMatchObject([
      { actor: 'rita', payload: { route: '/api/v1/approvals/:ticket/approve' } },
    ])
  })

  test('again and again is one row', async () => {
    const before = await lastSeq()
    for (let i = 0; i < 5; i++) expect((await ask('vera', 'POST /role-bindings', {})).status).toBe(403)
    expect(await denied(before)).toHaveLength(1)
  })

  test('to nobody known is a line for the operator, with the address and without the credential', async () => {
    const answer = await ask('nobody', 'POST /tasks', fresh(), { authorization: 'Bearer wrong-credential-1' })
    expect(answer.status).toBe(401)
    const lines = api.logger.lines.filter(({ message }) => message === 'somebody was not let in')
    expect(lines.at(-1)?.fields).toEqual({
      address: '203.0.113.7',
      method: 'POST',
      route: '/api/v1/tasks',
      code: 'unauthenticated',
    })
  })
})
