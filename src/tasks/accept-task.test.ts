import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Pool, PoolClient } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createDatabase } from '../database/database.ts'
import { type Core, noop, startCore } from '../../test/helpers/core.ts'
import { type AcceptRequest, createTaskAcceptor } from './accept-task.ts'

let core: Core
beforeAll(async () => {
  core = await startCore()
})
afterAll(() => core.stop())

const request = (fields: Partial<AcceptRequest> = {}): AcceptRequest => ({
  operation: noop,
  input: { name: randomUUID() },
  options: {},
  tenant: 'default',
  actor: 'requester',
  ...fields,
})

const counts = async () => {
  const { rows } = await core.database.pool.query<{ events: number; tasks: number; jobs: number; keys: number }>(
    `select (select count(*) from sluice.domain_events)::int events, (select count(*) from sluice.tasks)::int tasks,
      (select count(*) from pgboss.job)::int jobs, (select count(*) from sluice.idempotency_keys)::int keys`,
  )
  return rows[0]
}

describe('hybrid transaction: an acceptance is one transaction, or nothing', () => {
  test('event, projection and job commit together; the job carries the event id and nothing else', async () => {
    const { taskId } = await core.acceptor.accept(request())
    const { rows } = await core.database.pool.query(
      `select j.id, j.data, j.name, e.event_id, e.type, t.status from pgboss.job j
       join sluice.tasks t on t.task_id = j.id join sluice.domain_events e on e.task_id = t.task_id where j.id = $1`,
      [taskId],
    )
    expect(rows).toEqual([
      {
        id: taskId,
        data: { eventId: rows[0].event_id },
        name: 'sluice-short',
        event_id: rows[0].event_id,
        type: 'task.requested',
        status: 'PENDING',
      },
    ])
  })

  test('a failure after any statement leaves nothing', async () => {
    const acceptor = createTaskAcceptor({ ...core, groupSize: 1 })
    const before = await counts()
    let statement = 0
    for (let failed = true; failed;) {
      statement++
      const disarm = failAfterStatement(core.database.pool, statement)
      // The commit's own answer is lost last: that one has happened, and the caller cannot know.
      failed = await acceptor.accept(request({ idempotencyKey: randomUUID() })).then(
        () => false,
        () => true,
      )
      const { committed } = disarm()
      if (committed) break
      expect(await counts(), `after statement ${statement}`).toEqual(before)
    }
    // BEGIN with its settings, accept_tasks, the engine's insert, and the commit.
    expect(statement).toBe(4)
  })

  test('a connection killed before the commit leaves nothing, and the caller gets no answer', async () => {
    const before = await counts()
    const disarm = intercept(core.database.pool, async (text, run, client) => {
      if (text === 'commit') {
        // pg keeps the back end's process id from the handshake.
        const { processID } = client as PoolClient & { processID: number }
        await core.database.pool.query('select pg_terminate_backend($1, 5000)', [processID])
      }
      return run()
    })
    await expect(createTaskAcceptor({ ...core, groupSize: 1 }).accept(request())).rejects.toThrow()
    disarm()
    expect(await counts()).toEqual(before)
  })
})

describe('accepting together: one bad request fails alone', () => {
  test('64 at once travel in few transactions, and each gets its own answer', async () => {
    let begins = 0
    const disarm = intercept(core.database.pool, (text, run) => {
      if (text.startsWith('begin')) begins++
      return run()
    })
    const names = Array.from({ length: 64 }, () => randomUUID())
    const accepted = await Promise.all(names.map((name) => core.acceptor.accept(request({ input: { name } }))))
    disarm()
    expect(new Set(accepted.map(({ taskId }) => taskId)).size).toBe(64)
    expect(begins).toBeLessThan(10)
    const { rows } = await core.database.pool.query(
      `select t.target, j.id from sluice.tasks t join pgboss.job j on j.id = t.task_id where t.task_id = any($1)`,
      [accepted.map(({ taskId }) => taskId)],
    )
    expect(rows).toHaveLength(64)
  })

  test('a request that the database refuses does not take the others with it', async () => {
    const bad = request({ options: { priority: 2 ** 40 } })
    const results = await Promise.allSettled(
      [request(), bad, request(), bad, request()].map((one) => core.acceptor.accept(one)),
    )
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'])
  })
})

describe('unique keys: one active task per key', () => {
  test('64 concurrent requests for one key make one task; all get it', async () => {
    const input = { name: randomUUID() }
    // Two acceptors: as two API processes.
    const other = createTaskAcceptor(core)
    const accepted = await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        (i % 2 ? other : core.acceptor).accept(request({ input, actor: `user-${i}` })),
      ),
    )
    expect(new Set(accepted.map(({ taskId }) => taskId)).size).toBe(1)
    expect(accepted.filter(({ outcome }) => outcome === 'accepted')).toHaveLength(1)
    expect(accepted.filter(({ deduplicated }) => deduplicated)).toHaveLength(63)
    const { rows } = await core.database.pool.query(
      'select cardinality(joined_by) joined, (select count(*)::int from pgboss.job where id = task_id) jobs from sluice.tasks where task_id = $1',
      [accepted[0]?.taskId],
    )
    expect(rows).toEqual([{ joined: 63, jobs: 1 }])
  })

  test('who comes while the first one commits joins it too', async () => {
    for (let round = 0; round < 4; round++) {
      // Sessions that have planned nothing yet are slow between two looks: some see the first one's commit in between.
      const database = createDatabase({ url: core.url, poolMax: 8, poolMin: 0 })
      const acceptor = createTaskAcceptor({ ...core, database, groupSize: 1, groupsInFlight: 8 })
      const input = { name: randomUUID() }
      const accepted = await Promise.all(Array.from({ length: 24 }, () => acceptor.accept(request({ input }))))
      await database.stop()
      expect(accepted.map(({ outcome }) => outcome).sort()).toEqual(['accepted', ...Array(23).fill('joined')])
    }
  })

  test('another input for the key is a conflict that names the task in the way', async () => {
    const name = randomUUID()
    const first = await core.acceptor.accept(request({ input: { name } }))
    const second = await core.acceptor.accept(request({ input: { name, size: 2 } }))
    expect(second).toMatchObject({ outcome: 'conflict', taskId: first.taskId })
  })

  test('tenants do not share keys', async () => {
    const input = { name: randomUUID() }
    const ours = await core.acceptor.accept(request({ input }))
    const theirs = await core.acceptor.accept(request({ input, tenant: 'other' }))
    expect(theirs).toMatchObject({ outcome: 'accepted' })
    expect(theirs.taskId).not.toBe(ours.taskId)
  })
})

describe('Idempotency-Key', () => {
  test('the same key and payload replays the first answer, also concurrently', async () => {
    const one = request({ idempotencyKey: randomUUID() })
    const answers = await Promise.all(Array.from({ length: 20 }, () => core.acceptor.accept(one)))
    expect(
      new Set(answers.map(({ taskId, status, deduplicated }) => JSON.stringify([taskId, status, deduplicated]))).size,
    ).toBe(1)
  })

  test('the same key with another payload is refused', async () => {
    const idempotencyKey = randomUUID()
    await core.acceptor.accept(request({ idempotencyKey }))
    expect(await core.acceptor.accept(request({ idempotencyKey }))).toMatchObject({ outcome: 'key_reused' })
  })

  test('is scoped to tenant and principal, and only what was accepted is kept', async () => {
    const idempotencyKey = randomUUID()
    const first = await core.acceptor.accept(request({ idempotencyKey }))
    const other = await core.acceptor.accept(request({ idempotencyKey, actor: 'somebody' }))
    expect(other).toMatchObject({ outcome: 'accepted' })
    expect(other.taskId).not.toBe(first.taskId)

    const name = randomUUID()
    await core.acceptor.accept(request({ input: { name } }))
    const refused = randomUUID()
    await core.acceptor.accept(request({ input: { name, size: 1 }, idempotencyKey: refused }))
    expect(await core.acceptor.accept(request({ idempotencyKey: refused }))).toMatchObject({ outcome: 'accepted' })
  })
})

describe('single ownership is enforced by the database', () => {
  const asRole = (role: 'sluice_api' | 'sluice_worker', statement: string) =>
    core.database.transaction({ role, tenant: 'default' }, (tx) => sql.raw(statement).execute(tx))

  test.each([
    ['update sluice.domain_events set actor = actor'],
    ['delete from sluice.domain_events'],
    ['truncate sluice.domain_events'],
    ['update sluice.tasks set status = status'],
    ['delete from sluice.tasks'],
    ['truncate sluice.tasks'],
  ])('even the owner may not: %s', async (statement) => {
    await core.acceptor.accept(request())
    await expect(core.database.pool.query(statement)).rejects.toMatchObject({ code: 'SL003' })
  })

  test.each([
    [
      'sluice_api',
      `insert into sluice.domain_events (tenant_id, type, actor) values ('default', 'task.completed', 'me')`,
    ],
    [
      'sluice_api',
      `insert into sluice.resources (tenant_id, cluster, api_version, kind, name, state, task_id) values ('default', 'c', 'v', 'k', 'n', 'present', gen_random_uuid())`,
    ],
    ['sluice_api', `update sluice.tasks set status = 'COMPLETED'`],
    ['sluice_api', `delete from sluice.waits`],
    ['sluice_worker', `update sluice.tasks set status = 'COMPLETED'`],
    ['sluice_worker', `delete from sluice.domain_events`],
    ['sluice_worker', `select * from sluice.accept_tasks('[]')`],
  ] as const)('%s may not: %s', async (role, statement) => {
    await expect(asRole(role, statement)).rejects.toMatchObject({ code: '42501' })
  })

  test('the API cannot write what only a worker knows', async () => {
    const { taskId } = await core.acceptor.accept(request())
    for (const type of ['task.started', 'task.completed', 'task.failed', 'task.progress', 'task.waiting']) {
      const statement = `select * from sluice.append_event('${taskId}', '${type}', 'me', '{}')`
      await expect(asRole('sluice_api', statement), type).rejects.toMatchObject({ code: 'SL001' })
    }
  })

  test('a transaction of the API sees one tenant', async () => {
    const { taskId } = await core.acceptor.accept(request({ tenant: 'theirs' }))
    const seen = (tenant: string) =>
      core.database.transaction({ role: 'sluice_api', tenant }, (tx) =>
        tx.selectFrom('tasks').select('task_id').where('task_id', '=', taskId).execute(),
      )
    expect(await seen('default')).toEqual([])
    expect(await seen('theirs')).toEqual([{ task_id: taskId }])
  })
})

type Query = (...args: unknown[]) => Promise<unknown>

/** Puts `around` between the transactions of the pool and their statements. */
function intercept(
  pool: Pool,
  around: (text: string, run: () => Promise<unknown>, client: PoolClient) => Promise<unknown>,
): () => void {
  const connect = pool.connect.bind(pool) as unknown as (...args: unknown[]) => Promise<PoolClient>
  const restore: (() => void)[] = []
  const seen = new Set<PoolClient>()
  Object.assign(pool, {
    connect: async (...args: unknown[]) => {
      // `pool.query` comes with a callback: its statements are nobody's transaction.
      if (args.length > 0) return connect(...args)
      const client = await connect()
      if (seen.has(client)) return client
      seen.add(client)
      const query = client.query.bind(client) as Query
      Object.assign(client, {
        query: (...statement: unknown[]) => {
          const [first] = statement
          const text = typeof first === 'string' ? first : (first as { text: string }).text
          return around(text, () => query(...statement), client)
        },
      })
      restore.push(() => Object.assign(client, { query }))
      return client
    },
  })
  return () => {
    Object.assign(pool, { connect })
    restore.forEach((undo) => undo())
  }
}

/** Lets `n` statements happen, and then breaks: the n-th one's answer never arrives. */
function failAfterStatement(pool: Pool, n: number): () => { committed: boolean } {
  let seen = 0
  let committed = false
  const disarm = intercept(pool, async (text, run) => {
    const result = await run()
    if (text === 'rollback') return result
    seen++
    committed ||= text === 'commit'
    if (seen === n) throw new Error(`injected after statement ${n}`)
    return result
  })
  return () => {
    disarm()
    return { committed }
  }
}
