import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { taskPageSchema } from '../../src/contract/task.ts'
import { accepted, type Api, connectApi, problemOf, taskOf } from './support/api.ts'
import { type DatabaseView, openDatabaseView } from './support/database-view.ts'
import { openEventStream } from './support/event-stream.ts'
import { openSimulatedCluster, type SimulatedCluster } from './support/simulated-cluster.ts'
import { makeDataDir, startDeadlineMs } from './support/program.ts'
import { type SluiceProcess, startSluiceProcess } from './support/sluice-process.ts'

let sluice: SluiceProcess
let requester: Api
let database: DatabaseView
let cluster: SimulatedCluster

beforeAll(async () => {
  sluice = await startSluiceProcess(await makeDataDir())
  requester = sluice.as('requester')
  database = await openDatabaseView(sluice.databaseUrl)
  cluster = await openSimulatedCluster(sluice.kubeconfig)
}, startDeadlineMs)
afterAll(() => database?.close())

/** Everything that an accepted change would have left. */
const countAll = async () =>
  (
    await database.rows<{ tasks: string; events: string; jobs: string }>(
      `select (select count(*) from sluice.tasks) as tasks, (select count(*) from sluice.domain_events) as events,
         (select count(*) from pgboss.job where name <> 'sluice-dead') as jobs`,
    )
  )[0]

describe('the same change twice', () => {
  test('joins the task that is under way', async () => {
    await cluster.hold('twice')
    const first = await requester.createProject('twice')
    const again = await requester.createProject('twice')
    expect(again).toMatchObject({ task_id: first.task_id, deduplicated: true })
    const other = accepted(
      await sluice.as('approver').send('POST', '/projects', { body: { organization: 'acme', name: 'twice' } }),
    )
    expect(other).toMatchObject({ task_id: first.task_id, deduplicated: true })
    await cluster.letGo()
    const task = await requester.end(first.task_id)
    expect(task).toMatchObject({ status: 'COMPLETED', requested_by: 'requester', joined_by: ['approver'] })
    expect(await database.jobsOf(first.task_id)).toContainEqual(expect.objectContaining({ queue: 'sluice-short' }))
  })

  test('who joined sees the task and cannot cancel it', async () => {
    const { task_id } = await requester.createProject('stalls-shared')
    const approver = sluice.as('approver')
    await approver.createProject('stalls-shared')
    expect((await approver.task(task_id)).joined_by).toEqual(['approver'])
    const refused = await approver.send('POST', `/tasks/${task_id}/cancel`)
    expect([refused.status, problemOf(refused).code]).toEqual([403, 'forbidden'])
  })

  test('with another payload, or another change to the same object, is 409 with a link to the task in the way', async () => {
    await cluster.hold('contested')
    const { links, task_id } = await requester.createProject('contested')
    await (await openEventStream(requester, task_id)).until('task.waiting')
    const before = await countAll()
    const otherPayload = await requester.send('POST', '/projects', {
      body: { name: 'contested', organization: 'evil' },
    })
    const otherChange = await requester.send('DELETE', '/projects/contested')
    for (const answer of [otherPayload, otherChange]) {
      expect(answer.status).toBe(409)
      expect(problemOf(answer)).toMatchObject({ code: 'conflict', task: links.self })
    }
    expect(await countAll()).toEqual(before)
    await cluster.letGo()
  })
})

describe('an Idempotency-Key', () => {
  const create = (api: Api, key: string, name: string) =>
    api.send('POST', '/projects', { body: { name, organization: 'acme' }, headers: { 'idempotency-key': key } })

  test('gets the identical first answer, also after the task has ended', async () => {
    const key = randomUUID()
    const first = await create(requester, key, 'keyed')
    const { task_id } = accepted(first)
    await requester.end(task_id)
    const again = await create(requester, key, 'keyed')
    expect(again.status).toBe(202)
    expect(again.body).toEqual(first.body)
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
  })

  test('is 422 with another payload, and refused where it is none', async () => {
    const key = randomUUID()
    accepted(await create(requester, key, 'keyed-once'))
    const other = await create(requester, key, 'keyed-otherwise')
    expect([other.status, problemOf(other).code]).toEqual([422, 'idempotency_key_reused'])
    const malformed = await create(requester, 'with spaces', 'keyed-badly')
    expect([malformed.status, problemOf(malformed).code]).toEqual([400, 'malformed_request'])
  })

  test('belongs to one principal: another one has keys of their own', async () => {
    const key = randomUUID()
    const mine = accepted(await create(requester, key, 'keyed-mine'))
    const theirs = accepted(await create(sluice.as('approver'), key, 'keyed-theirs'))
    expect(theirs.task_id).not.toBe(mine.task_id)
  })

  test('makes one task of many requests at once', async () => {
    const key = randomUUID()
    const answers = await Promise.all(Array.from({ length: 20 }, () => create(requester, key, 'keyed-in-a-hurry')))
    expect(new Set(answers.map((answer) => accepted(answer).task_id)).size).toBe(1)
  })
})

describe('reading a task', () => {
  test('again costs nothing until it changes (ETag, 304)', async () => {
    await cluster.hold('read-often')
    const { task_id } = await requester.createProject('read-often')
    const waiting = await requester.send('GET', `/tasks/${task_id}?wait=1`)
    const etag = waiting.headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[^"]+"$/)
    expect(waiting.headers.get('retry-after')).toBe('1')
    const same = await requester.send('GET', `/tasks/${task_id}`, { headers: { 'if-none-match': etag } })
    expect([same.status, same.body]).toEqual([304, ''])
    await cluster.letGo()
    await requester.end(task_id)
    const changed = await requester.send('GET', `/tasks/${task_id}`, { headers: { 'if-none-match': etag } })
    expect(taskOf(changed).status).toBe('COMPLETED')
    expect(changed.headers.get('retry-after')).toBeNull()
  })

  test('waits for its end where asked to: ?wait while reading, Prefer: wait while submitting', async () => {
    const { task_id } = await requester.createProject('read-patiently')
    expect(taskOf(await requester.send('GET', `/tasks/${task_id}?wait=30`)).status).toBe('COMPLETED')

    const answer = await requester.send('POST', '/projects', {
      body: { name: 'made-patiently', organization: 'acme' },
      headers: { prefer: 'wait=30' },
    })
    expect(answer.headers.get('preference-applied')).toBe('wait=30')
    expect(accepted(answer).task).toMatchObject({ status: 'COMPLETED', result: { name: 'made-patiently' } })

    const impatient = await requester.send('POST', '/projects', {
      body: { name: 'stalls-impatiently', organization: 'acme' },
      headers: { prefer: 'respond-async, wait=1' },
    })
    expect(accepted(impatient).task).toMatchObject({ done: false })
  })

  test('that does not exist is 404', async () => {
    const ids = ['task_01h455vb4pex5vsknk084sn02q', 'task_nonsense', 'nonsense']
    for (const id of ids) {
      const answer = await requester.send('GET', `/tasks/${id}`)
      expect([answer.status, problemOf(answer).code]).toEqual([404, 'not_found'])
    }
  })
})

describe('who asks', () => {
  test('without a token, or with a wrong one, is 401', async () => {
    for (const token of ['', 'x'.repeat(43)]) {
      const answer = await connectApi(sluice.url, token).send('GET', '/tasks')
      expect([answer.status, problemOf(answer).code]).toEqual([401, 'unauthenticated'])
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
    }
  })

  test('in a tenant that is not theirs is 404, whether it exists or not', async () => {
    const answer = await requester.send('GET', '/tasks', { headers: { 'sluice-tenant': 'other' } })
    expect([answer.status, problemOf(answer).code]).toEqual([404, 'not_found'])
    expect((await requester.send('GET', '/tasks', { headers: { 'sluice-tenant': 'default' } })).status).toBe(200)
  })

  test('each development principal is who its token says', async () => {
    for (const name of ['requester', 'approver', 'admin'] as const) {
      expect((await sluice.as(name).send('GET', '/me')).body).toMatchObject({ principal: name, tenant: 'default' })
    }
  })
})

describe('nothing is written', () => {
  test('by a dry run: it answers 200 with what would change', async () => {
    const before = await countAll()
    const body = { name: 'only-thought-of', organization: 'acme' }
    const own = await requester.send('POST', '/projects/dry-run', { body })
    expect(own.status).toBe(200)
    expect(own.body).toMatchObject({
      valid: true,
      warnings: [],
      diff: expect.stringContaining('+ metadata.name: "only-thought-of"'),
    })
    const generic = await requester.send('POST', '/tasks/dry-run', {
      body: { operation: 'project.create', input: body },
    })
    expect(generic.body).toEqual(own.body)
    expect(await countAll()).toEqual(before)
    expect((await cluster.projects()).map(({ metadata }) => metadata.name)).not.toContain('only-thought-of')
  })

  test('for an input that is not valid: 422, with a pointer to each field', async () => {
    const before = await countAll()
    const refusals: readonly (readonly [string, unknown, readonly string[]])[] = [
      ['/projects', { name: 'Not Valid', organization: '' }, ['/name', '/organization']],
      ['/projects', { name: 'fine', organization: 'acme', task: { timeout_ms: 5 } }, ['/task/timeout_ms']],
      ['/projects', { name: 'fine', organization: 'acme', cluster: 'nowhere' }, ['/cluster']],
      ['/tasks', { operation: 'project.create', input: { name: 'x_y', organization: 'acme' } }, ['/input/name']],
      ['/tasks', { operation: 'project.explode', input: {} }, ['/operation']],
    ]
    for (const [path, body, pointers] of refusals) {
      const answer = await requester.send('POST', path, { body })
      expect([path, answer.status]).toEqual([path, 422])
      const named = problemOf(answer).errors?.map(({ pointer }) => pointer) ?? []
      expect(named).toEqual(expect.arrayContaining([...pointers]))
    }
    const unknownField = await requester.send('POST', '/projects', {
      body: { name: 'fine', organization: 'acme', colour: 'red' },
    })
    expect(unknownField.status).toBe(422)
    expect(JSON.stringify(problemOf(unknownField))).toContain('colour')
    const unreadable = await fetch(`${sluice.url}/api/v1/projects`, {
      method: 'POST',
      headers: { authorization: `Bearer ${requester.token}`, 'content-type': 'application/json' },
      body: '{"name":',
    })
    expect(unreadable.status).toBe(400)
    expect(await countAll()).toEqual(before)
  })
})

describe('the process', () => {
  test('says that it is alive and ready, without a token', async () => {
    const anybody = connectApi(sluice.url, '')
    expect((await anybody.send('GET', '//healthz')).status).toBe(200)
    expect(await anybody.send('GET', '//readyz')).toMatchObject({ status: 200, body: { status: 'ready' } })
  })

  test('describes itself: OpenAPI 3.1 for programs, a page for people', async () => {
    const anybody = connectApi(sluice.url, '')
    const document = await anybody.send('GET', '/openapi.json')
    const { openapi, paths } = z
      .object({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) })
      .parse(document.body)
    expect(openapi).toMatch(/^3\.1/)
    const described = [
      '/api/v1/projects',
      '/api/v1/projects/{name}',
      '/api/v1/projects/dry-run',
      '/api/v1/tasks/{task_id}',
    ]
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(described))
    const page = await anybody.send('GET', '/docs')
    expect(page.status).toBe(200)
    expect(page.headers.get('content-type')).toContain('text/html')
  })

  test('answers a path that it does not have with a 404 problem', async () => {
    const answer = await requester.send('GET', '/nothing-here')
    expect([answer.status, problemOf(answer).code]).toEqual([404, 'not_found'])
  })
})

describe('the list', () => {
  const list = async (query: string) => taskPageSchema.parse((await requester.send('GET', `/tasks?${query}`)).body)
  const label = `label=${encodeURIComponent('suite=list')}`
  let ids: readonly string[]

  beforeAll(async () => {
    const made = [1, 2, 3, 4, 5].map((n) =>
      requester.createProject(`listed-${n}`, { task: { labels: { suite: 'list', odd: String(n % 2 === 1) } } }),
    )
    ids = (await Promise.all(made)).map(({ task_id }) => task_id)
    for (const id of ids) await requester.end(id)
  })

  test('comes newest first, page by page, each task once', async () => {
    const seen: string[] = []
    let token: string | null = ''
    while (token !== null) {
      const page: z.output<typeof taskPageSchema> = await list(`${label}&page_size=2${token && `&page_token=${token}`}`)
      expect(page.items.length).toBeLessThanOrEqual(2)
      seen.push(...page.items.map(({ task_id }) => task_id))
      token = page.next_page_token
    }
    expect(seen).toEqual([...ids].sort().reverse())
  })

  test('is narrowed by label, status, operation, target, principal, time and text', async () => {
    const names = async (query: string) =>
      (await list(`${label}&${query}`)).items.map(({ target }) => target?.split('/').at(-1) ?? '').sort()
    const all = ['listed-1', 'listed-2', 'listed-3', 'listed-4', 'listed-5']
    expect(await names(`label=${encodeURIComponent('odd=true')}`)).toEqual(['listed-1', 'listed-3', 'listed-5'])
    expect(await names('status=COMPLETED&status=FAILED')).toEqual(all)
    expect(await names('status=FAILED')).toEqual([])
    expect(await names('operation=project.create')).toEqual(all)
    expect(await names('operation=project.delete')).toEqual([])
    expect(await names('requested_by=approver')).toEqual([])
    expect(await names('q=listed-3')).toEqual(['listed-3'])
    expect(await names('q=%25')).toEqual([])
    const target = 'default:resourcemanager.miloapis.com/Project//listed-4'
    expect(await names(`target=${encodeURIComponent(target)}`)).toEqual(['listed-4'])
    const soon = encodeURIComponent(new Date(Date.now() + 60_000).toISOString())
    expect(await names(`created_after=${soon}`)).toEqual([])
    expect(await names(`created_before=${soon}`)).toEqual(all)
  })

  test('refuses a page token that it did not give, and a filter that it does not know', async () => {
    for (const query of ['page_token=nonsense', 'status=DONE', 'colour=red', 'page_size=1000']) {
      const answer = await requester.send('GET', `/tasks?${query}`)
      expect([query, answer.status]).toEqual([query, 422])
      problemOf(answer)
    }
  })
})
