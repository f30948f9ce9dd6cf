import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase } from '../../test/helpers/test-database.ts'
import { until } from '../../test/helpers/until.ts'
import { testOperation } from '../../test/helpers/worker.ts'
import { createClient } from '../client/index.ts'
import { type RunningSluice, startSluice } from '../main.ts'
import { completed } from '../operations/define-operation.ts'
import { TransientError } from '../operations/errors.ts'
import { createMemoryLogger } from '../platform/memory/memory-logger.ts'
import { productVersion } from '../platform/product-version.ts'
import { addClientCommands } from './client-commands.ts'

const devTokens = { requester: 'r'.repeat(43), approver: 'a'.repeat(43), admin: 'd'.repeat(43) }
const broken = new Set<string>()
const operation = testOperation({
  type: 'test.work',
  retry: { maxAttempts: 2, backoff: { initialMs: 0, maxMs: 0 } },
  perform: async (_context, { name }) => {
    if (broken.has(name)) throw new TransientError(`${name} is broken`, { code: 'broken' })
    return completed({ name })
  },
})

let sluice: RunningSluice
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-engine-'))
  sluice = await startSluice({
    databaseUrl: (await createTestDatabase()).url,
    port: 0,
    poolMax: 10,
    devTokens,
    operations: [operation],
    logger: createMemoryLogger(),
  })
})
afterAll(async () => {
  await sluice.stop()
  await rm(folder, { recursive: true })
})

type Who = keyof typeof devTokens
const client = () => createClient({ baseUrl: sluice.url, token: devTokens.requester })

/** Runs a line as the shell would. */
async function run(who: Who, line: string, ...more: string[]) {
  const ran = { out: '', err: '', code: undefined as number | undefined }
  const write = (stream: 'out' | 'err') => ({
    isTTY: false,
    columns: 200,
    write: (text: string) => (ran[stream] += text),
  })
  const program = new Command()
  addClientCommands(program, {
    stdout: write('out'),
    stderr: write('err'),
    env: { SLUICE_URL: sluice.url, SLUICE_TOKEN: devTokens[who] },
    setExitCode: (code) => (ran.code = code),
    onInterrupt: () => ({ signal: new AbortController().signal, release: () => {} }),
  })
  await program.parseAsync([...line.split(' '), ...more], { from: 'user' })
  return ran
}

async function fail(label = 'x'): Promise<string> {
  const name = `bad-${randomUUID()}`
  broken.add(name)
  const { task_id } = await client().submit('test.work', { name }, { task: { labels: { is: label } } })
  await client().waitForTask(task_id)
  broken.delete(name)
  return task_id
}

describe('sluice dead-letters', () => {
  test('list, get with the error of each attempt, and replay of one', async () => {
    const taskId = await fail()
    expect((await run('requester', 'dead-letters list')).out).toContain(taskId)
    const { out } = await run('requester', `dead-letters get ${taskId}`)
    expect(out.split('\n')).toEqual([
      expect.stringMatching(new RegExp(`^${taskId}  test\\.work  .*by requester$`)),
      expect.stringMatching(/attempt 1 {2}bad-\S+ is broken$/),
      expect.stringMatching(/attempt 2 {2}bad-\S+ is broken \(attempt 2 of 2; none is left\)$/),
      '',
    ])
    expect(await run('requester', 'dead-letters get task_01k00000000000000000000000')).toMatchObject({ code: 1 })
    expect(await run('requester', `dead-letters replay ${taskId}`)).toMatchObject({
      code: 0,
      out: '1 of 1 replayed.\n',
    })
    expect(await run('requester', `dead-letters replay ${taskId}`)).toMatchObject({
      code: 1,
      out: '0 of 0 replayed.\n1 of the 1 named could not be: there is none, or it was done before.\n',
    })
  })

  test('replay of what fits, and of all; nothing said is nothing replayed', async () => {
    await fail('mine')
    await fail('mine')
    await fail('other')
    expect(await run('requester', 'dead-letters replay')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^Which/),
    })
    const mine = 'dead-letters replay --label is=mine'
    expect((await run('requester', `${mine} --dry-run`)).out).toBe('2 would be replayed.\n')
    expect((await run('requester', mine)).out).toBe('2 of 2 replayed.\n')
    expect((await run('requester', 'dead-letters replay --all')).out).toBe('1 of 1 replayed.\n')
  })
})

describe('sluice tasks cancel and retry, of many', () => {
  test('those that fit a filter', async () => {
    await run('admin', 'queues pause test.work --reason test')
    for (let i = 0; i < 3; i++) {
      await client().submit('test.work', { name: randomUUID() }, { task: { labels: { end: 'soon' } } })
    }
    expect((await run('requester', 'tasks cancel --label end=soon --dry-run')).out).toBe('3 would be cancelled.\n')
    expect((await run('requester', 'tasks cancel --label end=soon')).out).toBe('3 of 3 cancelled.\n')
    await run('admin', 'queues resume test.work')
    expect((await run('requester', 'tasks retry --label end=soon')).out).toBe('3 of 3 tried again.\n')
    for (const line of ['tasks cancel', 'tasks retry', 'tasks cancel task_x --status PENDING']) {
      expect(await run('requester', line)).toMatchObject({ code: 2, err: expect.stringMatching(/^Which ones\?/) })
    }
  })
})

describe('sluice batches', () => {
  test('submit, get, retry of what failed, list and cancel', async () => {
    const bad = `bad-${randomUUID()}`
    broken.add(bad)
    const file = join(folder, 'items.json')
    const item = (name: string) => ({ operation: 'test.work', input: { name } })
    await writeFile(file, JSON.stringify([item(randomUUID()), item(bad)]))
    const { out } = await run('requester', `batches submit ${file} --concurrency 1`)
    const batch = out.split('  ')[0] ?? ''
    await until(async () => (await client().getBatch(batch)).completed_at !== null)
    expect((await run('requester', `batches get ${batch}`)).out).toBe(
      `${batch}  PARTIALLY_COMPLETED  2: COMPLETED 1, FAILED 1\n`,
    )
    broken.delete(bad)
    const again = (await run('requester', `batches retry ${batch}`)).out.split('  ')[0] ?? ''
    await until(async () => (await client().getBatch(again)).status === 'COMPLETED')
    expect((await run('requester', 'batches list')).out.split('\n')[0]).toBe(`${again}  COMPLETED  1: COMPLETED 1`)
    expect((await run('requester', `batches cancel ${again}`)).out).toBe('0 of 0 cancelled.\n')
    await writeFile(file, '{}')
    expect(await run('requester', `batches submit ${file}`)).toMatchObject({ code: 2 })
  })
})

describe('sluice queues and workers', () => {
  test('pause, limit and what is held; the processes that are up', async () => {
    expect(await run('requester', 'queues pause test.work')).toMatchObject({ code: 1 })
    await run('admin', 'queues pause test.work --reason maintenance')
    await run('admin', 'queues limit tenant default --max-running 3')
    const { out } = await run('requester', 'queues list')
    expect(out).toMatch(/test\.work/)
    expect(out).toMatch(/maintenance/)
    expect(out).toMatch(/tenant default.*3 at once/)
    await run('admin', 'queues limit tenant default --remove')
    await run('admin', 'queues resume test.work')
    expect((await run('requester', 'queues list')).out).not.toMatch(/maintenance|3 at once/)
    expect((await run('requester', 'workers')).out).toMatch(
      new RegExp(`^\\S+/${process.pid}/\\S+  all  ${productVersion.replaceAll('.', '\\.')}  0/10  alive  \\d{4}-`),
    )
  })
})

describe('sluice schedules', () => {
  test('create, run now, pause, resume and delete', async () => {
    const create = `schedules create nightly test.work name=${randomUUID()} --time-zone Europe/Berlin --cron`
    expect(await run('requester', create, 'never')).toMatchObject({ code: 2, err: expect.stringContaining('never') })
    const made = await run('requester', create, '0 2 * * *')
    expect(made.out).toMatch(/^schedule_\w+ {2}first \d{4}-/)
    const id = made.out.split('  ')[0] ?? ''
    expect((await run('requester', 'schedules list')).out).toMatch(new RegExp(`^${id}  nightly  test\\.work  0 2`))
    const now = JSON.parse((await run('requester', `schedules run ${id}`)).out) as { task_id: string }
    expect(await client().waitForTask(now.task_id)).toMatchObject({ status: 'COMPLETED', schedule_id: id })
    expect((await run('requester', `schedules pause ${id}`)).out).toBe('Paused.\n')
    expect((await run('requester', `schedules resume ${id}`)).out).toMatch(/^Next \d{4}-/)
    expect(await run('requester', `schedules delete ${id}`)).toMatchObject({ code: 0 })
    expect((await run('requester', 'schedules list')).out).toBe('No schedules.\n')
  })
})
