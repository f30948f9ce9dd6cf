import { randomUUID } from 'node:crypto'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { startTestApi, type TestApi } from '../../test/helpers/api.ts'
import { type GovernedCore, startGovernedCore } from '../../test/helpers/governed-core.ts'
import { until } from '../../test/helpers/until.ts'
import { reached, startWorker } from '../../test/helpers/worker.ts'
import { fromWireId } from '../contract/ids.ts'
import { completed, defineOperation } from '../operations/define-operation.ts'
import { PermanentError } from '../operations/errors.ts'
import { createOperationRegistry } from '../operations/registry.ts'
import { createPlatform } from '../platform/create-platform.ts'
import type { FlagValue } from '../platform/feature-flags.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import type { Platform } from '../platform/platform.ts'
import { fireSchedules } from '../tasks/fire-schedules.ts'
import { createSchedule, findSchedule } from '../tasks/schedule.ts'

const performed = new Map<string, Readonly<Record<string, FlagValue>>>()
const input = z.strictObject({ name: z.string() })

/** Behind the flag `resize`; goes by `resize-step` besides. */
const resize = defineOperation({
  type: 'disk.resize',
  title: 'Resize a disk',
  route: { method: 'POST', path: '/disks' },
  flag: 'resize',
  flags: { 'resize-step': 10 },
  input,
  class: 'short',
  perform: async ({ flags }, { name }) => {
    performed.set(name, flags)
    if (name.startsWith('fails')) throw new PermanentError('as planned', { code: 'planned' })
    return completed({ step: flags['resize-step'] })
  },
  dryRun: async ({ flags }) => ({ diff: `step ${String(flags['resize-step'])}`, warnings: [] }),
})
const plain = defineOperation({
  type: 'disk.look',
  title: 'Look at a disk',
  input,
  class: 'short',
  perform: async ({ flags }) => completed({ flags }),
})

const policy = `version: 1
rules:
  - { name: guarded, when: 'operation == "disk.resize" && input.name == "guarded"', approval: {} }
  - { name: rest, allow: true }`

interface FlagFile {
  readonly resize: boolean | { readonly if: readonly unknown[] }
  readonly step?: number
}

let folder: string
let file: string
let platform: Platform
let core: GovernedCore
let api: TestApi

/** Writes the flag file, as an administrator would, and waits until it is read. */
async function setFlags({ resize: rule, step = 10 }: FlagFile): Promise<void> {
  const on =
    typeof rule === 'boolean' ? { defaultVariant: rule ? 'on' : 'off' } : { defaultVariant: 'off', targeting: rule }
  const seen: string = randomUUID()
  const flags = {
    resize: { state: 'ENABLED', variants: { on: true, off: false }, ...on },
    'resize-step': { state: 'ENABLED', variants: { it: step }, defaultVariant: 'it' },
    seen: { state: 'ENABLED', variants: { it: seen }, defaultVariant: 'it' },
  }
  // Moved into place: a reader never finds half of it.
  await writeFile(`${file}.new`, JSON.stringify({ flags }))
  await rename(`${file}.new`, file)
  await until(async () => (await platform.featureFlags.getValue('seen', '')) === seen)
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-flags-'))
  file = join(folder, 'flags.json')
  await writeFile(file, '{"flags": {}}')
  platform = createPlatform({
    featureFlags: { adapter: 'openfeature', file, pollMs: 10 },
    logger: { adapter: 'own', service: createMemoryLogger() },
  })
  await platform.start()
  const { featureFlags } = platform
  core = await startGovernedCore(policy, { featureFlags })
  api = await startTestApi(core, [resize, plain], { featureFlags })
})
beforeEach(() => setFlags({ resize: true }))
afterAll(async () => {
  await api.stop()
  await core.stop()
  await platform.stop()
  await rm(folder, { recursive: true })
})

const ask = (who: 'requester' | 'admin' = 'requester', name: string = randomUUID(), headers = {}) =>
  api.as(who, 'POST /disks', { name }, headers)
const tasksOf = async (name: string) =>
  (
    await core.database.pool.query(
      `select from sluice.domain_events where type = 'task.requested' and payload->'input'->>'name' = $1`,
      [name],
    )
  ).rowCount
const uuidOf = (taskId: string): string => fromWireId('task', taskId) ?? ''

describe('an operation behind a flag', () => {
  test('answers 403 with the name of the flag while it is off, and writes nothing', async () => {
    await setFlags({ resize: false })
    const name = randomUUID()
    const refused = { status: 403, body: { code: 'flag_off', flag: 'resize', retryable: false } }
    expect(await ask('requester', name)).toMatchObject(refused)
    const generic = { operation: 'disk.resize', input: { name } }
    expect(await api.as('requester', 'POST /tasks', generic)).toMatchObject(refused)
    expect(await api.as('requester', 'POST /disks/dry-run', { name })).toMatchObject(refused)
    expect(await api.as('requester', 'POST /tasks/dry-run', generic)).toMatchObject(refused)
    expect(await tasksOf(name)).toBe(0)
    await setFlags({ resize: true })
    expect(await ask('requester', name)).toMatchObject({ status: 202 })
  })

  test.each([
    ['principal', { '==': [{ var: 'principal' }, 'admin'] }],
    ['role', { in: ['admin', { var: 'roles' }] }],
    ['principal as the targeting key', { '==': [{ var: 'targetingKey' }, 'admin'] }],
  ])('is asked for with the %s of who asks', async (_what, condition) => {
    await setFlags({ resize: { if: [condition, 'on', 'off'] } })
    expect(await ask('admin')).toMatchObject({ status: 202 })
    expect(await ask('requester')).toMatchObject({ status: 403, body: { flag: 'resize' } })
  })

  test('is asked for with the tenant and the operation', async () => {
    const here = { and: [{ '==': [{ var: 'tenant' }, 'default'] }, { '==': [{ var: 'operation' }, 'disk.resize'] }] }
    await setFlags({ resize: { if: [here, 'on', 'off'] } })
    expect(await ask()).toMatchObject({ status: 202 })
    await setFlags({ resize: { if: [{ '==': [{ var: 'tenant' }, 'other'] }, 'on', 'off'] } })
    expect(await ask()).toMatchObject({ status: 403 })
  })

  test('the first answer to an Idempotency-Key stays its answer, whatever the flag does', async () => {
    const [name, headers] = [randomUUID(), { 'idempotency-key': randomUUID() }]
    const first = await ask('requester', name, headers)
    await setFlags({ resize: false })
    expect(await ask('requester', name, headers)).toMatchObject({ status: 202, body: first.body })
  })

  test('holds its items of a batch back, by place and flag, and with them the batch', async () => {
    await setFlags({ resize: false })
    const items = ['disk.look', 'disk.resize'].map((operation) => ({ operation, input: { name: randomUUID() } }))
    const refused = await api.as('requester', 'POST /tasks/bulk', { items })
    expect(refused).toMatchObject({ status: 422, body: { code: 'batch_refused', errors: [{ pointer: '/items/1' }] } })
    expect(refused.body['errors'][0].message).toContain('resize')
  })

  test('a schedule skips a firing while it is off for its owner, and says why', async () => {
    await setFlags({ resize: false })
    const { featureFlags } = platform
    const scope = { database: core.database, tenant: 'default', actor: 'owner' }
    const { schedule_id: id } = await createSchedule(scope, {
      name: randomUUID(),
      operation: resize,
      input: { name: randomUUID() },
      options: {},
      cron: '* * * * *',
      timeZone: 'UTC',
      startAt: undefined,
      paused: false,
      missed: 'skip',
      overlap: 'skip',
    })
    const fire = async () => {
      await core.database.pool.query(
        `update sluice.schedules set next_run_at = date_trunc('milliseconds', now()) where schedule_id = $1`,
        [id],
      )
      await fireSchedules({ ...core, operations: createOperationRegistry([resize]), logger: api.logger, featureFlags })
      return (await findSchedule(core.database, 'default', id))?.last_outcome
    }
    expect(await fire()).toBe('Skipped: disk.resize is behind the feature flag resize, which is off for you.')
    await setFlags({ resize: true })
    expect(await fire()).toMatch(/^Fired /)
  })

  test('is marked in the list of operations, for who looks', async () => {
    await setFlags({ resize: { if: [{ '==': [{ var: 'principal' }, 'admin'] }, 'on', 'off'] } })
    const flagOf = async (who: 'admin' | 'requester', type: string) =>
      (await api.as(who, 'GET /operations')).body['items'].find((one: { type: string }) => one.type === type).flag
    expect(await flagOf('admin', 'disk.resize')).toEqual({ name: 'resize', enabled: true })
    expect(await flagOf('requester', 'disk.resize')).toEqual({ name: 'resize', enabled: false })
    expect(await flagOf('requester', 'disk.look')).toBe(null)
  })

  test('is off where nobody provides flags', async () => {
    const without = await startGovernedCore(policy)
    const bare = await startTestApi(without, [resize])
    expect(await bare.as('requester', 'POST /disks', { name: 'a' })).toMatchObject({ status: 403 })
    await bare.stop()
    await without.stop()
  })
})

describe('the flags of a task are those of its acceptance', () => {
  const run = async (...taskIds: string[]) => {
    const worker = await startWorker(core, [resize, plain])
    const ended = await Promise.all(taskIds.map((taskId) => reached(core, uuidOf(taskId))))
    await worker.stop(0)
    return ended
  }

  test('perform sees what they were, though they have changed since; the log keeps them', async () => {
    const name = randomUUID()
    const { body } = await ask('requester', name)
    await setFlags({ resize: false, step: 99 })
    const [task] = await run(body['task_id'])
    expect(task).toMatchObject({ status: 'COMPLETED', result: { step: 10 } })
    expect(performed.get(name)).toEqual({ resize: true, 'resize-step': 10 })
    const { items } = (await api.as('requester', `GET /tasks/${body['task_id']}/events`)).body
    expect(items[0].data.flags).toEqual({ resize: true, 'resize-step': 10 })
  })

  test('also after an approval', async () => {
    const { body } = await ask('requester', 'guarded')
    expect(body['status']).toBe('AWAITING_APPROVAL')
    await setFlags({ resize: false, step: 99 })
    const path = body['links'].ticket.replace('/api/v1', '')
    const { payload_hash } = (await api.as('approver', `GET ${path}`)).body
    expect(await api.as('approver', `POST ${path}/approve`, { payload_hash })).toMatchObject({ status: 200 })
    const [task] = await run(body['task_id'])
    expect(task).toMatchObject({ status: 'COMPLETED', result: { step: 10 } })
  })

  test('a task that is tried again is a new one, and goes by the flags of that day', async () => {
    const name = `fails-${randomUUID()}`
    const { body } = await ask('requester', name)
    await run(body['task_id'])
    await setFlags({ resize: true, step: 20 })
    const again = await api.as('requester', `POST /tasks/${body['task_id']}/retry`)
    await run(again.body['task_id'])
    expect(performed.get(name)).toEqual({ resize: true, 'resize-step': 20 })
    await setFlags({ resize: false })
    expect(await api.as('requester', `POST /tasks/${again.body['task_id']}/retry`)).toMatchObject({
      status: 403,
      body: { code: 'flag_off', flag: 'resize' },
    })
  })

  test('an operation that names none has none', async () => {
    const { body } = await api.as('requester', 'POST /tasks', { operation: 'disk.look', input: { name: 'a' } })
    expect((await run(body['task_id']))[0]).toMatchObject({ result: { flags: {} } })
  })

  test('a dry run goes by those of now', async () => {
    await setFlags({ resize: true, step: 30 })
    expect((await api.as('requester', 'POST /disks/dry-run', { name: 'a' })).body).toMatchObject({ diff: 'step 30' })
  })
})
