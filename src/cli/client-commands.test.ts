import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startStubApi, type StubApi } from '../../test/helpers/stub-api.ts'
import { stubProblem } from '../../test/helpers/stub-store.ts'
import { until } from '../../test/helpers/until.ts'
import { addClientCommands } from './client-commands.ts'
import { addMigrateCommand } from './migrate.ts'
import type { Terminal } from './output.ts'

const [requester, approver, admin] = ['r', 'a', 'm'].map((letter) => letter.repeat(43))
const tokens = { requester, approver, admin }

let api: StubApi
let data: string

beforeEach(async () => {
  api = await startStubApi()
  for (const [principal, token = ''] of Object.entries(tokens)) api.tokens.set(token, principal)
  data = await mkdtemp(join(tmpdir(), 'sluice-cli-'))
  await writeFile(join(data, 'dev-tokens.json'), JSON.stringify(tokens))
})
afterEach(async () => {
  await api.stop()
  await rm(data, { recursive: true })
})

interface Run {
  out: string
  err: string
  code: number | undefined
}

/** Starts a command as the shell would; `run` grows while it works. */
function start(args: string[], options: { tty?: boolean; env?: Record<string, string>; interrupt?: AbortSignal } = {}) {
  const run: Run = { out: '', err: '', code: undefined }
  const isTTY = options.tty ?? false
  const terminal: Terminal = {
    stdout: { isTTY, columns: 100, write: (text) => (run.out += text) },
    stderr: { isTTY, columns: 100, write: (text) => (run.err += text) },
    env: options.env ?? { SLUICE_URL: api.url, SLUICE_DATA_DIR: data },
    setExitCode: (code) => (run.code = code),
    onInterrupt: () => ({ signal: options.interrupt ?? new AbortController().signal, release: () => {} }),
  }
  const program = new Command()
  addClientCommands(program, terminal)
  addMigrateCommand(program, terminal)
  return { run, done: program.parseAsync(args, { from: 'user' }) }
}

async function sluice(args: string[], options: Parameters<typeof start>[1] = {}): Promise<Run> {
  const { run, done } = start(args, options)
  await done
  return run
}

const acme = ['submit', 'project.create', '--input', 'name=acme', 'organization=test']

describe('sluice submit', () => {
  test('finds the development token by itself and prints the task', async () => {
    const run = await sluice(acme)
    expect(run).toMatchObject({ code: 0, err: '' })
    expect(run.out).toMatch(/^Accepted {2}task_\w{26} {2}PENDING\n$/)
    expect([...api.store.tasks.values()][0]).toMatchObject({ requested_by: 'requester' })
  })

  test('sends input, file, options and key', async () => {
    const file = join(data, 'input.json')
    await writeFile(file, '{"organization":"test","spec":{"cpu":1}}')
    const options = ['--timeout-ms', '5000', '--label', 'team=core', '--idempotency-key', 'key-1', '--as', 'admin']
    await sluice(['submit', 'vm.create', 'name=acme', '--input', 'spec.cpu=2', '--input-file', file, ...options])
    const request = api.requests.at(-1)
    expect(request?.headers).toMatchObject({ 'idempotency-key': 'key-1', authorization: `Bearer ${admin}` })
    expect(request?.body).toEqual({
      operation: 'vm.create',
      input: { organization: 'test', spec: { cpu: 2 }, name: 'acme' },
      task: { timeout_ms: 5000, labels: { team: 'core' } },
    })
  })

  test('an input that is refused is a usage error, shown field by field', async () => {
    const run = await sluice(['submit', 'project.create', '--input', 'name=Not-A-Name'])
    expect(run).toMatchObject({ code: 2, out: '' })
    expect(run.err).toMatch(/does not fit project.create. \(422 invalid_input\)\n {2}name {2}must begin with a letter/)
  })

  test('--json prints one document, also of a refusal, and nothing else', async () => {
    const accepted = await sluice([...acme, '--json'])
    expect(JSON.parse(accepted.out)).toMatchObject({ status: 'PENDING' })
    const refused = await sluice(['submit', 'project.create', '--input', 'name=Not-A-Name', '--json'])
    expect(refused.code).toBe(2)
    expect(JSON.parse(refused.out)).toMatchObject({ status: 422, code: 'invalid_input' })
    expect(accepted.err + refused.err).toBe('')
  })

  test('--wait prints a line per change where no terminal is, and exits by the outcome', async () => {
    const { run, done } = start([...acme, '--wait'])
    await until(() => run.out.includes('PENDING'))
    const [task] = [...api.store.tasks.values()]
    if (task === undefined) throw new Error('no task')
    api.store.append(task.task_id, 'task.started', { task: { progress: { done: 1, total: 2, message: 'applying' } } })
    await until(() => run.out.includes('RUNNING  1/2 applying'))
    api.store.append(task.task_id, 'task.waiting', { task: { why_waiting: 'Project acme is not Ready yet' } })
    await until(() => run.out.includes('Project acme is not Ready yet'))
    api.store.append(task.task_id, 'task.completed', { task: { result: { name: 'acme' } } })
    await done
    expect(run.code).toBe(0)
    expect(run.out).toMatch(/✓ COMPLETED {2}project.create acme {2}in .+\n {2}name: acme\n$/)
    expect(run.out).not.toContain('\u001b')
  })

  test('--wait redraws one line on a terminal and leaves the outcome', async () => {
    const { run, done } = start([...acme, '--wait'], { tty: true })
    await until(() => run.out.includes('\r\u001b[K') && run.out.includes('PENDING'))
    const [task] = [...api.store.tasks.values()]
    if (task === undefined) throw new Error('no task')
    api.store.append(task.task_id, 'task.failed', { task: { error: stubProblem(409, 'The name is taken.') } })
    await done
    expect(run.code).toBe(1)
    expect(run.out).toMatch(/FAILED.*project.create acme {2}in .+\n {2}The name is taken. \(stub\)\n$/)
  })

  test('--wait --json prints the ended task alone', async () => {
    const { run, done } = start([...acme, '--wait', '--json'])
    await until(() => api.store.tasks.size === 1)
    for (const id of api.store.tasks.keys()) api.store.append(id, 'task.timed_out')
    await done
    expect(JSON.parse(run.out)).toMatchObject({ status: 'TIMED_OUT', done: true })
    expect(run.code).toBe(1)
  })

  test('Ctrl-C while waiting says that the task goes on', async () => {
    const interrupt = new AbortController()
    const { run, done } = start([...acme, '--wait'], { interrupt: interrupt.signal })
    await until(() => run.out.includes('PENDING'))
    interrupt.abort()
    await done
    expect(run.code).toBe(130)
    expect(run.err).toMatch(/The task goes on. See it again: sluice tasks watch task_/)
  })
})

describe('sluice tasks', () => {
  test('list shows status, target and why, newest first', async () => {
    api.store.add({ status: 'FAILED', error: stubProblem(409, 'The name is taken.'), done: true })
    api.store.add({ status: 'PENDING', why_waiting: 'Second in the queue' })
    const run = await sluice(['tasks', 'list'])
    const lines = run.out.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    expect(lines[1]).toMatch(/^task_\w{26} {2}PENDING {2}project.create {2}acme .* Second in the queue$/)
    expect(lines[2]).toMatch(/FAILED .* The name is taken. \(stub\)$/)
  })

  test('list filters and pages', async () => {
    for (let n = 0; n < 3; n++) api.store.add({ status: 'RUNNING' })
    api.store.add({ status: 'PENDING' })
    const first = await sluice(['tasks', 'list', '--status', 'RUNNING', 'WAITING', '--limit', '2', '--json'])
    const page = JSON.parse(first.out)
    expect(page.items).toHaveLength(2)
    const next = ['tasks', 'list', '--status', 'RUNNING', '--page-token', page.next_page_token, '--json']
    expect(JSON.parse((await sluice(next)).out)).toMatchObject({
      items: [{ status: 'RUNNING' }],
      next_page_token: null,
    })
  })

  test('get prints the task, 404 exits 1', async () => {
    const { task_id } = api.store.add({ labels: { team: 'core' } })
    const run = await sluice(['tasks', 'get', task_id])
    expect(run.code).toBe(0)
    expect(run.out).toMatch(/status +PENDING\n/)
    expect(run.out).toMatch(/labels +team=core\n/)
    expect(await sluice(['tasks', 'get', 'task_nowhere'])).toMatchObject({ code: 1, out: '' })
  })

  test('watch --json prints the events as lines', async () => {
    const { task_id } = api.store.add()
    const { run, done } = start(['tasks', 'watch', task_id, '--json'])
    await until(() => run.out.includes('task.requested'))
    api.store.append(task_id, 'task.started')
    api.store.append(task_id, 'task.completed')
    await done
    const events = run.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).type)
    expect(events).toEqual(['task.requested', 'task.started', 'task.completed'])
    expect(run.code).toBe(0)
  })

  test('cancel says what stays; of an ended task it is refused', async () => {
    const { task_id } = api.store.add()
    expect(await sluice(['tasks', 'cancel', task_id, '--wait'])).toMatchObject({
      code: 0,
      out: 'CANCELLED  Cancelled; the object stays.\n',
    })
    const ended = api.store.add()
    api.store.append(ended.task_id, 'task.completed')
    expect(await sluice(['tasks', 'cancel', ended.task_id])).toMatchObject({ code: 1 })
  })
})

describe('the other commands', () => {
  test('operations lists them with their fields, and says which are switched off', async () => {
    expect((await sluice(['operations'])).out).toMatch(
      /^project.create {2}Creates a project.*\n +name, organization\ndisk.resize {5}Resizes a disk {2}\(off: feature flag disk-resize\)\n/,
    )
  })

  test('console prints a link', async () => {
    expect((await sluice(['console'])).out).toMatch(/^http:\/\/127.0.0.1:\d+\/\?code=code-1\n$/)
  })

  test('migrate without a database, or with one that is not there', async () => {
    expect(await sluice(['migrate'])).toMatchObject({ code: 2, err: expect.stringMatching(/Which database\?/) })
    const absent = await sluice(['migrate', '--database-url', 'postgres://me:hunter2@127.0.0.1:1/x'])
    expect(absent).toMatchObject({ code: 3, err: expect.stringMatching(/No answer from PostgreSQL at 127.0.0.1:1/) })
    expect(absent.err).not.toContain('hunter2')
  })
})

describe('where the server and the credentials come from', () => {
  test('nobody listens: exit 3 and how to start one', async () => {
    const run = await sluice(['tasks', 'list', '--url', 'http://127.0.0.1:1'])
    expect(run).toMatchObject({ code: 3, out: '' })
    expect(run.err).toMatch(/No answer from Sluice at http:\/\/127.0.0.1:1\/.*\n.*sluice start/)
    const json = await sluice(['tasks', 'list', '--url', 'http://127.0.0.1:1', '--json'])
    expect(JSON.parse(json.out)).toMatchObject({ code: 'unreachable' })
  })

  test('no token: exit 1 and how to get one', async () => {
    const run = await sluice(['tasks', 'list'], { env: { SLUICE_URL: api.url, SLUICE_DATA_DIR: join(data, 'absent') } })
    expect(run).toMatchObject({ code: 1, err: expect.stringMatching(/SLUICE_TOKEN/) })
  })

  test('a token from the environment wins over the file', async () => {
    const env = { SLUICE_URL: api.url, SLUICE_DATA_DIR: data, SLUICE_TOKEN: admin ?? '' }
    await sluice(acme, { env })
    expect(api.requests.at(-1)?.headers.authorization).toBe(`Bearer ${admin}`)
  })

  test.each([
    [['--url', 'ftp://x'], /is not an http or https address/],
    [['--url', 'https://sluice.example.com', '--as', 'admin'], /--as is for a development server/],
    [['--data', '/nonexistent', '--as', 'admin'], /Name the data folder of `sluice start` with --data/],
  ])('%j is a usage error', async (args, message) => {
    expect(await sluice(['tasks', 'list', ...args])).toMatchObject({ code: 2, err: expect.stringMatching(message) })
  })
})
