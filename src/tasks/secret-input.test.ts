import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Core, startCore } from '../../test/helpers/core.ts'
import { reached, startWorker } from '../../test/helpers/worker.ts'
import { completed, defineOperation } from '../operations/define-operation.ts'
import { PermanentError } from '../operations/errors.ts'
import { createOperationRegistry } from '../operations/registry.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { createSecretBox, NoSecretKeyError } from '../platform/secret-box.ts'
import { createTaskAcceptor, type TaskAcceptor } from './accept-task.ts'
import { acceptBatch } from './batch.ts'
import { fireSchedules } from './fire-schedules.ts'
import { retryTask } from './retry-task.ts'
import { rotateSecrets } from './rotate-secrets.ts'
import { createSchedule, replaceSchedule, toSchedule } from './schedule.ts'
import { putSecrets, takeSecrets } from './secret-input.ts'
import { withoutSecrets } from './without-secrets.ts'

const secret = 'hunter2-and-more'
const got: string[] = []
const login = defineOperation({
  type: 'test.login',
  title: 'Takes a password',
  input: z.strictObject({ name: z.string(), password: z.string(), fail: z.boolean().optional() }),
  class: 'short',
  secrets: () => ['/password'],
  perform: async ({ report }, { name, password, fail }) => {
    got.push(password)
    report({ message: `logging in with ${password}` })
    if (fail === true) throw new PermanentError(`the server says: ${password} is wrong`, { code: 'wrong_password' })
    return completed({ name, echo: `it was ${password}`, list: [Buffer.from(password).toString('base64')] })
  },
})

const secrets = createSecretBox(Buffer.alloc(32, 1))
let core: Core
let acceptor: TaskAcceptor
let worker: Awaited<ReturnType<typeof startWorker>>
beforeAll(async () => {
  core = await startCore()
  acceptor = createTaskAcceptor({ ...core, secrets })
  worker = await startWorker(core, [login], { secrets })
})
afterAll(async () => {
  await worker.stop()
  await core.stop()
})

const request = (input: object = {}) => ({
  operation: login,
  input: { name: randomUUID(), password: secret, ...input },
  options: {},
  tenant: 'default',
  actor: 'rita',
})

/** Everything that the database holds, but for the engine's own. */
async function everything(): Promise<string> {
  const { rows } = await core.database.pool.query<{ name: string }>(
    `select format('sluice.%I', relname) as name from pg_class where relnamespace = 'sluice'::regnamespace and relkind in ('r', 'p')`,
  )
  const dumps = await Promise.all(rows.map(({ name }) => core.database.pool.query(`select t::text from ${name} t`)))
  return JSON.stringify(dumps.map((dump) => dump.rows))
}

describe('a secret in an input', () => {
  test('reaches perform, and nothing that is kept: not the log, not what the operation said of it', async () => {
    const { taskId } = await acceptor.accept(request())
    const failing = await acceptor.accept(request({ fail: true }))
    expect(await reached(core, taskId)).toMatchObject({
      status: 'COMPLETED',
      result: { echo: 'it was [secret]', list: ['[secret]=='] },
    })
    expect(await reached(core, failing.taskId)).toMatchObject({
      status: 'FAILED',
      error: { detail: 'the server says: [secret] is wrong' },
    })
    expect(got).toEqual([secret, secret])
    const kept = await everything()
    expect(kept).not.toContain(secret)
    expect(kept).not.toContain(Buffer.from(secret).toString('base64').replace(/=+$/, ''))
    const { rows } = await core.database.pool.query(
      `select payload->'input' as input from sluice.domain_events where task_id = $1 and type = 'task.requested'`,
      [taskId],
    )
    expect(rows).toEqual([{ input: { name: expect.any(String), password: '[secret]' } }])
    expect(JSON.stringify(worker.logger.lines)).not.toContain(secret)
  })

  test('is had again by a retry, by a batch, and by a schedule that is changed without it', async () => {
    got.length = 0
    const first = await acceptor.accept(request({ fail: true }))
    await reached(core, first.taskId)
    const options = { ...core, acceptor, secrets, operations: createOperationRegistry([login]) }
    const again = await retryTask(options, { tenant: 'default', taskId: first.taskId, actor: 'rita' })
    await reached(core, again?.taskId ?? '')

    const items = [request(), request()]
    const batch = await acceptBatch(
      { ...core, secrets },
      { items, tenant: 'default', actor: 'rita', onError: 'continue' },
    )
    const { rows } = await core.database.pool.query<{ task_id: string }>(
      'select task_id from sluice.tasks where batch_id = $1',
      [batch.batch_id],
    )
    for (const row of rows) await reached(core, row.task_id)

    const scope = { database: core.database, tenant: 'default', actor: 'rita', secrets }
    const fields = {
      name: 'nightly',
      operation: login,
      input: { name: 'n', password: secret },
      options: {},
      cron: '* * * * *',
      timeZone: 'UTC',
      startAt: undefined,
      paused: false,
      missed: 'skip' as const,
      overlap: 'skip' as const,
    }
    const schedule = await createSchedule(scope, fields)
    // What a client has read, it sends back.
    const { input } = toSchedule(schedule)
    expect(input).toEqual({ name: 'n', password: '[secret]' })
    await replaceSchedule(scope, schedule.schedule_id, { ...fields, input: { ...input, name: 'm' } })
    await core.database.pool.query(`update sluice.schedules set next_run_at = date_trunc('milliseconds', now())`)
    expect(await fireSchedules({ ...options, logger: createMemoryLogger() })).toBe(1)
    const fired = await core.database.pool.query('select last_task_id from sluice.schedules')
    await reached(core, fired.rows[0].last_task_id)
    expect(got).toEqual(Array(5).fill(secret))
    expect(await everything()).not.toContain(secret)
  })

  test('is refused where there is no key, and nothing is written', async () => {
    const without = createTaskAcceptor(core)
    const before = await everything()
    await expect(without.accept(request())).rejects.toThrow(NoSecretKeyError)
    expect(await everything()).toBe(before)
  })

  test('opens for its own task, in its own tenant, only; and goes with its task', async () => {
    const one = await acceptor.accept(request())
    await reached(core, one.taskId)
    const { rows } = await core.database.pool.query<{ sealed: string }>(
      'select sealed from sluice.input_secrets where owner_id = $1',
      [one.taskId],
    )
    const sealed = rows[0]?.sealed ?? ''
    expect(secrets.open(sealed, `input/default/${one.taskId}/password`)).toBe(secret)
    expect(() => secrets.open(sealed, `input/other/${one.taskId}/password`)).toThrow()
    expect(() => secrets.open(sealed, `input/default/${randomUUID()}/password`)).toThrow()
    await core.database.transaction({ role: 'sluice_retention' }, async (tx) => {
      const { dropEndedTasks } = await import('../worker/retention.sql.ts')
      await dropEndedTasks(tx, -1, 1_000)
    })
    const left = await core.database.pool.query('select from sluice.input_secrets where owner_id = $1', [one.taskId])
    expect(left.rowCount).toBe(0)
  })

  test('is put under another key without being opened', async () => {
    const { taskId } = await acceptor.accept(request())
    const next = createSecretBox([Buffer.alloc(32, 2), Buffer.alloc(32, 1)])
    expect(await rotateSecrets({ database: core.database, secrets: next, dryRun: true })).toMatchObject({ current: 0 })
    const rotation = await rotateSecrets({ database: core.database, secrets: next })
    expect(rotation.rewrapped).toBeGreaterThan(0)
    expect(await rotateSecrets({ database: core.database, secrets: next })).toEqual({
      keyId: next.keyId,
      rewrapped: 0,
      current: rotation.rewrapped,
    })
    const { rows } = await core.database.pool.query<{ sealed: string }>(
      'select sealed from sluice.input_secrets where owner_id = $1',
      [taskId],
    )
    const about = `input/default/${taskId}/password`
    expect(createSecretBox(Buffer.alloc(32, 2)).open(rows[0]?.sealed ?? '', about)).toBe(secret)
    const noted = await core.database.pool.query(
      `select tenant_id, payload from sluice.domain_events where type = 'secrets.rotated'`,
    )
    expect(noted.rows).toEqual([
      { tenant_id: 'default', payload: { place: 'input', secrets: rotation.rewrapped, key: next.keyId } },
    ])
  })
})

describe('taking secrets out, and putting them in', () => {
  const operation = { secrets: () => ['/a~1b/0/c~0d', '/missing', '/number'] }
  test('at any place of the input', () => {
    const input = { 'a/b': [{ 'c~d': 'deep' }], number: 1, rest: 'stays' }
    const { shown, secrets: taken } = takeSecrets(operation, input)
    expect(shown).toMatchObject({ 'a/b': [{ 'c~d': '[secret]' }], rest: 'stays' })
    expect(taken).toEqual([{ pointer: '/a~1b/0/c~0d', value: 'deep' }])
    expect(putSecrets(shown, taken)).toMatchObject({ 'a/b': [{ 'c~d': 'deep' }] })
    expect(input['a/b'][0]?.['c~d']).toBe('deep')
  })

  test('texts that repeat a secret lose it, in every form that others write it in', () => {
    const value = '#cloud-config\npassword: "käse & brot"\n'
    const said = [
      `Invalid value: ${JSON.stringify(value)}`,
      'line 2: password: "käse & brot" is no',
      Buffer.from(value).toString('base64'),
      encodeURIComponent(value),
    ]
    const hidden = withoutSecrets({ said, n: 1, none: null }, [{ pointer: '/x', value }])
    expect(JSON.stringify(hidden)).not.toMatch(/brot|k%C3|cGFzc3dvcmQ/)
    expect(hidden).toMatchObject({ n: 1, none: null })
  })
})
