import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { fromWireId, toWireId } from '../../src/contract/ids.ts'
import { type Role, roles } from '../../src/contract/identity.ts'
import { startTenants, type Tenants } from '../helpers/tenants.ts'
import { accepted, connectApi, type Answer, type Api } from './support/api.ts'

// Written down once more, by hand: what the code allows is compared with what was decided.
const allowed: Readonly<Record<string, readonly Role[]>> = {
  self: ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'tasks.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'operations.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'resources.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'approvals.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'policies.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'notifications.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'schedules.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'queues.read': ['viewer', 'requester', 'operator', 'approver', 'admin'],
  'tasks.request': ['requester', 'operator', 'approver', 'admin'],
  'tasks.cancel': ['requester', 'operator', 'approver', 'admin'],
  'notifications.write': ['requester', 'operator', 'approver', 'admin'],
  'schedules.write': ['requester', 'operator', 'approver', 'admin'],
  'tokens.read': ['requester', 'operator', 'approver', 'admin'],
  'tokens.write': ['requester', 'operator', 'approver', 'admin'],
  'tasks.operate': ['operator', 'admin'],
  'schedules.operate': ['operator', 'admin'],
  'queues.operate': ['operator', 'admin'],
  // Of the platform's tenant only.
  'platform.operate': [],
  'approvals.decide': ['approver', 'admin'],
  'clusters.write': ['admin'],
  'webhooks.read': ['admin'],
  'webhooks.write': ['admin'],
  'audit.read': ['admin'],
  'roles.read': ['admin'],
  'roles.write': ['admin'],
}
// What a role that holds in some environments only does not allow, whatever the role: it is about the whole tenant.
const wholeTenant = [
  'schedules.operate',
  'queues.operate',
  'platform.operate',
  'clusters.write',
  'webhooks.read',
  'webhooks.write',
  'audit.read',
  'roles.read',
  'roles.write',
]
const askers = [
  'nobody',
  'viewer',
  'requester',
  'operator',
  'approver',
  'admin',
  'requester-in-test',
  'operator-in-test',
  'approver-in-test',
  'admin-in-test',
  'other',
  'platform',
  'revoked',
  'expired',
] as const
type Asker = (typeof askers)[number]

const documentSchema = z.object({
  paths: z.record(z.string(), z.record(z.string(), z.object({ 'x-sluice-permission': z.string().optional() }))),
})

interface Route {
  readonly method: string
  readonly path: string
  readonly permission: string
}

let tenants: Tenants
let routes: Route[]
beforeAll(async () => {
  tenants = await startTenants({ secretKey: randomBytes(32) })
  routes = await readRoutes()
})
afterAll(() => tenants.stop())

function as(asker: Asker): Api {
  return connectApi(tenants.sluice.url, asker === 'nobody' ? '' : tenants.tokens[asker])
}

async function readRoutes(): Promise<Route[]> {
  const { body } = await as('nobody').send('GET', '/openapi.json')
  return routesOf(body)
}

function routesOf(document: unknown): Route[] {
  return Object.entries(documentSchema.parse(document).paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path: path.replace('/api/v1', ''),
      permission: operation['x-sluice-permission'] ?? 'undeclared',
    })),
  )
}

const nothing = '00000000-0000-7000-8000-000000000000'
/** A well-formed id that nobody has: whoever may ask is told 404, never 403. */
const fill = (path: string) =>
  path.replace(/\{(\w+)\}/g, (_, field: string) =>
    field === 'task_id' ? toWireId('task', nothing) : field === 'token_id' ? toWireId('token', nothing) : 'nothing',
  )

const ask = (asker: Asker, { method, path }: Route, headers: Record<string, string> = {}): Promise<Answer> =>
  as(asker).send(method, fill(path), { headers, ...(method !== 'GET' && { body: {} }) })

const codeOf = (answer: Answer) =>
  typeof answer.body === 'object' && answer.body !== null && 'code' in answer.body ? answer.body.code : undefined

/** One cell: what the answer says about the right of this asker to call this route. */
function verdict({ status, ...answer }: Answer): string {
  const code = codeOf({ status, ...answer })
  if (status === 401) return 'unknown'
  if (status === 403) return code === 'forbidden' ? 'forbidden' : 'let in'
  return status < 500 ? 'let in' : `${status}`
}

function expected(asker: Asker, permission: string): string {
  if (permission === 'public') return 'let in'
  if (asker === 'nobody' || asker === 'revoked' || asker === 'expired') return 'unknown'
  if (permission === 'platform.operate') return asker === 'platform' ? 'let in' : 'forbidden'
  // The others are admins of a tenant of their own.
  const role = roles.find((name) => name === asker.replace('-in-test', '')) ?? 'admin'
  const beyond = asker.endsWith('-in-test') && wholeTenant.includes(permission)
  return allowed[permission]?.includes(role) === true && !beyond ? 'let in' : 'forbidden'
}

describe('authorisation: every route of the OpenAPI document, for everybody', () => {
  test('every route declares a permission that this matrix knows', () => {
    const published: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8'))
    const named = (all: readonly Route[]) => all.map(({ method, path }) => `${method} ${path}`).toSorted()
    expect(named(routes)).toEqual(named(routesOf(published)))
    expect(routes.length).toBeGreaterThan(100)
    expect(routes.filter(({ permission }) => permission !== 'public' && allowed[permission] === undefined)).toEqual([])
  })

  // Some 1,700 requests: no time of theirs is at stake, so a busy machine gets what it needs.
  test('every cell of the matrix is as decided', { timeout: 180_000 }, async () => {
    const wrong: string[] = []
    let cells = 0
    for (const route of routes) {
      for (const asker of askers) {
        const got = verdict(await ask(asker, route))
        const want = expected(asker, route.permission)
        cells += 1
        if (got !== want)
          wrong.push(`${route.method} ${route.path} (${route.permission}) as ${asker}: ${got}, not ${want}`)
      }
    }
    expect(wrong).toEqual([])
    expect(cells).toBe(routes.length * askers.length)
  })

  test('who names a tenant of others is told that there is none, on every route', async () => {
    for (const route of routes.filter(({ permission }) => permission !== 'public')) {
      const answer = await ask('other', route, { 'sluice-tenant': 'acme' })
      expect([route.method, route.path, answer.status, codeOf(answer)]).toEqual([
        route.method,
        route.path,
        404,
        'not_found',
      ])
    }
  })

  test('what belongs to another tenant is not there: whatever route names it', async () => {
    const { task_id } = accepted(await as('requester').send('POST', '/tasks', { body: change('a') }))
    const idOf = async (field: string, path: string, body: unknown): Promise<string> => {
      const made = await as('admin').send('POST', path, { body })
      expect(made.status, JSON.stringify(made.body)).toBeLessThan(300)
      return z.object({ [field]: z.string() }).parse(made.body)[field] ?? ''
    }
    const schedule = { name: 'theirs', ...change('s'), cron: '0 2 * * *' }
    const theirs: Record<string, string> = {
      task_id,
      ticket: toWireId('ticket', fromWireId('task', task_id) ?? ''),
      batch_id: await idOf('batch_id', '/tasks/bulk', { items: [change('b1')] }),
      schedule_id: await idOf('schedule_id', '/schedules', schedule),
      webhook: await idOf('webhook_id', '/webhooks', { url: 'https://1.1.1.1/hook' }),
      token_id: tenants.tokenIds.viewer,
      principal: 'viewer',
      role: 'viewer',
    }
    const named = routes.filter(({ path }) => {
      const fields = [...path.matchAll(/\{(\w+)\}/g)].map(([, field]) => field ?? '')
      return fields.length > 0 && fields.every((field) => theirs[field] !== undefined)
    })
    expect(named.length).toBeGreaterThan(20)
    const bodies: Record<string, unknown> = {
      'PUT /schedules/{schedule_id}': schedule,
      'POST /approvals/{ticket}/approve': { payload_hash: '0'.repeat(64) },
    }
    const seen: string[] = []
    for (const { method, path } of named) {
      const at = path.replace(/\{(\w+)\}/g, (_, field: string) => theirs[field] ?? '')
      const body = bodies[`${method} ${path}`] ?? {}
      const { status } = await as('other').send(method, at, method === 'GET' ? {} : { body })
      if (status !== 404) seen.push(`${method} ${path}: ${status}`)
    }
    expect(seen).toEqual([])
    expect(JSON.stringify((await as('other').send('GET', '/tasks')).body)).not.toContain(task_id)
    expect(JSON.stringify((await as('other').send('GET', '/tokens')).body)).not.toContain('viewer')
    expect((await as('viewer').send('GET', `/tasks/${task_id}`)).status).toBe(200)
  })
})

const change = (name: string) => ({ operation: 'test.noop', input: { name } })

describe('roles: who may do what with whose', () => {
  test('a requester cancels their own task, another requester does not, an operator does', async () => {
    const mine = async (name: string) =>
      accepted(await as('requester').send('POST', '/tasks', { body: change(name) })).task_id
    const [first, second] = [await mine('b'), await mine('c')]
    expect((await as('approver').send('POST', `/tasks/${first}/cancel`)).status).toBe(403)
    expect((await as('requester').send('POST', `/tasks/${first}/cancel`)).status).toBe(202)
    expect((await as('operator').send('POST', `/tasks/${second}/cancel`)).status).toBe(202)
  })

  test('/me says what one may do', async () => {
    const { body } = await as('viewer').send('GET', '/me')
    expect(body).toMatchObject({ principal: 'viewer', tenant: 'acme', tenants: ['acme'], roles: ['viewer'] })
    expect(body).toHaveProperty('permissions', expect.arrayContaining(['self', 'tasks.read']))
    expect(body).toHaveProperty('permissions', expect.not.arrayContaining(['tasks.request']))
  })

  test('a principal of several tenants says which; its roles are those of that tenant', async () => {
    const grant = { principal: 'requester', role: 'viewer' }
    expect((await as('other').send('POST', '/role-bindings', { body: grant })).status).toBe(201)
    const made = await as('other').send('POST', '/tokens', { body: { name: 'guest', principal: 'requester' } })
    const { token } = z.object({ token: z.string() }).parse(made.body)
    // A token acts in the tenant that it was made in.
    const guest = await connectApi(tenants.sluice.url, token).send('GET', '/me')
    expect(guest.body).toMatchObject({ principal: 'requester', tenant: 'other', tenants: ['other'], roles: ['viewer'] })
  })

  test('the last admin of a tenant cannot be taken away', async () => {
    const answer = await as('other').send('DELETE', '/role-bindings/other/admin')
    expect([answer.status, codeOf(answer)]).toEqual([409, 'last_admin'])
    expect((await as('other').send('GET', '/role-bindings')).status).toBe(200)
  })
})

describe('tokens: nobody makes one that may do more than they may', () => {
  const make = async (api: Api, body: Record<string, unknown>) => {
    const answer = await api.send('POST', '/tokens', { body: { name: 'ci', ...body } })
    return { ...answer, token: z.object({ token: z.string() }).safeParse(answer.body).data?.token ?? '' }
  }

  test('scopes narrow a token, and what such a token makes', async () => {
    const narrow = await make(as('requester'), { scopes: ['tasks.read', 'tokens.write'] })
    expect(narrow.token).toMatch(/^slc_[\w-]{43}$/)
    const limited = connectApi(tenants.sluice.url, narrow.token)
    expect((await limited.send('GET', '/tasks')).status).toBe(200)
    expect((await limited.send('POST', '/tasks', { body: change('d') })).status).toBe(403)
    expect((await make(limited, { scopes: ['tasks.request'] })).status).toBe(403)
    const child = await make(limited, {})
    expect(child.body).toMatchObject({ scopes: ['tasks.read', 'tokens.write'] })
  })

  test('a requester makes none for others and asks for nothing beyond their role', async () => {
    expect((await make(as('requester'), { principal: 'admin' })).status).toBe(403)
    expect((await make(as('requester'), { scopes: ['roles.write'] })).status).toBe(403)
  })

  test('the token is shown once; lists tell its prefix and its last use', async () => {
    const { token } = await make(as('operator'), { expires_in_days: 1 })
    const { body } = await as('operator').send('GET', '/tokens')
    expect(JSON.stringify(body)).not.toContain(token)
    expect(JSON.stringify(body)).toContain(token.slice(0, 10))
    expect(JSON.stringify(body)).not.toContain('"principal":"viewer"')
  })
})
