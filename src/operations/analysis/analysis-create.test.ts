import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, symlink, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TestApi, startTestApi } from '../../../test/helpers/api.ts'
import { gitIsHere, type GitServer, startGitServer } from '../../../test/helpers/git-server.ts'
import { type GovernedCore, startGovernedCore } from '../../../test/helpers/governed-core.ts'
import { until } from '../../../test/helpers/until.ts'
import { accept, eventTypesOf, reached, readTask, startWorker } from '../../../test/helpers/worker.ts'
import { fromWireId } from '../../contract/ids.ts'
import { createManualClock } from '../../platform/clock.ts'
import { createMemoryCache } from '../../platform/memory/memory-cache.ts'
import { type AnalysisOptions, createAnalysis } from './analysis-create.ts'

const policy = `version: 1\nrules: [{ name: all, allow: true }]`
const headTtlMs = 15_000

describe.skipIf(!gitIsHere)('analysis.create, on repositories that git itself serves', () => {
  const before = process.env['TMPDIR']
  const clock = createManualClock()
  let folder: string
  let core: GovernedCore
  let server: GitServer
  let api: TestApi
  let worker: Awaited<ReturnType<typeof startWorker>>
  beforeAll(async () => {
    // Of its own, so that what is left in it is ours.
    folder = await mkdtemp(join(tmpdir(), 'analysis-test-'))
    process.env['TMPDIR'] = folder
    server = await startGitServer()
    core = await startGovernedCore(policy)
    const operation = analysis({})
    api = await startTestApi(core, [operation])
    worker = await startWorker(core, [operation])
  })
  afterAll(async () => {
    await worker.stop(0)
    await api.stop()
    await core.stop()
    await server.stop()
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
    await rm(folder, { recursive: true, force: true })
  })

  const analysis = (options: Partial<AnalysisOptions>) =>
    createAnalysis({ cache: createMemoryCache({ clock }), hosts: [server.host], headTtlMs, ...options })
  const ask = async (input: object, task: object = {}) => api.as('requester', 'POST /analyses', { ...input, task })
  const submitted = async (input: object, task: object = {}): Promise<string> => {
    const { status, body } = await ask(input, task)
    expect(body).toMatchObject({ task_id: expect.any(String) })
    expect(status).toBe(202)
    return uuidOf(body)
  }
  const uuidOf = (body: Record<string, unknown>): string => fromWireId('task', String(body['task_id'])) ?? ''
  const analysed = async (input: object) => {
    const task = await reached(core, await submitted(input))
    expect(task).toMatchObject({ status: 'COMPLETED', error: null })
    return task.result as Record<string, unknown>
  }
  // Commits of equal content, time and people are the same in every repository.
  const records = async (repository: string, name: string) =>
    (await api.as('requester', `GET /resources?kind=Analysis&namespace=${server.host}/${repository}&name=${name}`))
      .body['items'] as Record<string, unknown>[]
  const foldersLeft = async () => (await readdir(folder)).filter((name) => name.startsWith('sluice-analysis-'))
  const retrying = async (taskId: string) => {
    await until(async () => (await readTask(core, taskId)).status === 'RETRYING')
    return readTask(core, taskId)
  }

  test('analyses the very commit although its branch has moved on', async () => {
    const repository = await server.repository('moved')
    const first = await repository.commit({ 'src/a.ts': 'one\ntwo\n', 'README.md': '# A\n' })
    await repository.commit({ 'src/a.ts': 'one\ntwo\nthree\n' })
    const result = await analysed({ repository: repository.url, commit: first })
    expect(result).toEqual({
      repository: repository.url,
      ref: null,
      commit: first,
      files: 2,
      bytes: 12,
      lines: 3,
      uncounted_files: 0,
      symlinks: 0,
      submodules: 0,
      languages: [
        { language: 'TypeScript', files: 1, lines: 2, bytes: 8 },
        { language: 'Markdown', files: 1, lines: 1, bytes: 4 },
      ],
      authored_at: '2026-01-02T03:04:05.000Z',
      committed_at: '2026-01-02T02:04:06.000Z',
      subject: 'A commit',
      contributors: ['Ada', 'Grace'],
    })
    expect(await records('moved', first)).toMatchObject([
      {
        cluster: '',
        kind: 'Analysis',
        namespace: `${server.host}/moved`,
        state: 'completed',
        details: result,
        conditions: [{ type: 'Completed', status: 'True' }],
      },
    ])
  })

  test('counts text, leaves binary files and links out, and follows no submodule', async () => {
    const repository = await server.repository('mixed')
    const message = 'Many things\n\nCo-authored-by: Linus <linus@example.com>\nCo-authored-by: Ada <ada@example.com>'
    await repository.commit({ 'logo.png': Buffer.from([1, 0, 2]), 'ünïcode name.py': 'x = 1', Dockerfile: 'FROM a\n' })
    await repository.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},vendor`)
    await symlink('logo.png', join((await repository.git('rev-parse', '--show-toplevel')).trim(), 'link'))
    // `add --all` would take the submodule out again: there is no folder of it.
    await repository.git('add', 'link')
    await repository.git('commit', '--quiet', '--message', message)
    const commit = (await repository.git('rev-parse', 'HEAD')).trim()
    await repository.git('push', '--quiet', '../../mixed.git', 'main')
    expect(await analysed({ repository: repository.url, commit })).toMatchObject({
      files: 3,
      lines: 2,
      uncounted_files: 1,
      symlinks: 1,
      submodules: 1,
      subject: 'Many things',
      contributors: ['Ada', 'Grace', 'Linus'],
      languages: [
        { language: 'Dockerfile', files: 1, lines: 1, bytes: 7 },
        { language: 'Python', files: 1, lines: 1, bytes: 5 },
      ],
    })
  })

  test('a branch is asked for once, and again when its time is over; what was found is of the commit it was on', async () => {
    const repository = await server.repository('heads')
    const asked = () => server.asked.filter((question) => question === 'refs').length
    const first = await repository.commit({ a: '1\n' })
    const start = asked()
    expect(await analysed({ repository: repository.url })).toMatchObject({ commit: first, ref: 'refs/heads/main' })
    expect(asked() - start).toBe(1)
    const second = await repository.commit({ a: '2\n' })
    expect(await analysed({ repository: repository.url })).toMatchObject({ commit: first })
    expect(asked() - start).toBe(1)
    await clock.advance(headTtlMs)
    expect(await analysed({ repository: repository.url })).toMatchObject({ commit: second })
    expect(asked() - start).toBe(2)
  })

  test('branches and tags by name; an annotated tag is the commit that it stands for', async () => {
    const repository = await server.repository('names')
    const commit = await repository.commit({ a: '1\n' }, { branch: 'feature/one' })
    await repository.git('tag', '--annotate', '--message', 'Release', 'v1', commit)
    await repository.git('push', '--quiet', '../../names.git', 'v1')
    await repository.commit({ a: '2\n' }, { branch: 'main' })
    const of = (ref: string) => analysed({ repository: repository.url, ref })
    expect(await of('feature/one')).toMatchObject({ commit, ref: 'refs/heads/feature/one' })
    expect(await of('v1')).toMatchObject({ commit, ref: 'refs/tags/v1' })
    expect(await of('refs/tags/v1')).toMatchObject({ commit, ref: 'refs/tags/v1' })
  })

  test('an attempt that failed is tried again on the commit that the first one found, though the branch moved', async () => {
    const repository = await server.repository('retried')
    const first = await repository.commit({ a: '1\n' })
    const mend = server.refuse('fetch', 503)
    const taskId = await submitted({ repository: repository.url, ref: 'main' })
    expect(await retrying(taskId)).toMatchObject({ error: { code: 'repository_unavailable', retryable: true } })
    expect(await records('retried', first)).toMatchObject([{ state: 'running', details: { ref: 'refs/heads/main' } }])
    const second = await repository.commit({ a: '2\n' })
    await clock.advance(headTtlMs)
    mend()
    expect(await reached(core, taskId)).toMatchObject({ status: 'COMPLETED', result: { commit: first } })
    expect(await records('retried', first)).toMatchObject([{ state: 'completed' }])
    expect(await records('retried', second)).toEqual([])
  })

  test('who asks for the same commit joins; another commit is another task', async () => {
    const repository = await server.repository('joined')
    const first = await repository.commit({ a: '1\n' })
    const second = await repository.commit({ a: '2\n' })
    const held = server.hold('fetch')
    const taskId = await submitted({ repository: repository.url, commit: first })
    await held.asked()
    const joined = await api.as('approver', 'POST /analyses', {
      repository: `${repository.url}/`,
      commit: first.toUpperCase(),
    })
    expect(joined).toMatchObject({ status: 202, body: { deduplicated: true } })
    expect(uuidOf(joined.body)).toBe(taskId)
    const other = await submitted({ repository: repository.url, commit: second })
    expect(other).not.toBe(taskId)
    held.letGo()
    for (const id of [taskId, other]) expect(await reached(core, id)).toMatchObject({ status: 'COMPLETED' })
    expect(await records('joined', first)).toHaveLength(1)
  })

  test('by a branch and by its commit at once: one at a time, and one record', async () => {
    const repository = await server.repository('twice')
    const commit = await repository.commit({ a: '1\n' })
    const held = server.hold('fetch')
    const first = await submitted({ repository: repository.url, commit })
    await held.asked()
    const second = await submitted({ repository: repository.url, ref: 'main' })
    expect(await retrying(second)).toMatchObject({ error: { code: 'already_running' }, handed_back: 1 })
    held.letGo()
    for (const id of [first, second]) expect(await reached(core, id)).toMatchObject({ status: 'COMPLETED' })
    expect(await records('twice', commit)).toMatchObject([{ state: 'completed' }])
  })

  test('cancel kills git and its helpers, and leaves nothing', async () => {
    const repository = await server.repository('cancelled')
    const commit = await repository.commit({ a: '1\n' })
    const held = server.hold('fetch')
    const taskId = await submitted({ repository: repository.url, commit })
    await held.asked()
    expect(await foldersLeft()).toHaveLength(1)
    const wire = (await api.as('requester', 'GET /tasks?operation=analysis.create&status=RUNNING')).body['items'][0]
    await api.as('requester', `POST /tasks/${wire.task_id}/cancel`, {})
    await held.hungUp()
    expect(await reached(core, taskId)).toMatchObject({ status: 'CANCELLED' })
    held.letGo()
    await until(async () => (await foldersLeft()).length === 0)
    expect(await records('cancelled', commit)).toMatchObject([
      { state: 'cancelled', conditions: [{ reason: 'cancelled' }] },
    ])
  })

  test('so does the deadline', async () => {
    const repository = await server.repository('late')
    const commit = await repository.commit({ a: '1\n' })
    const held = server.hold('fetch')
    const taskId = await submitted({ repository: repository.url, commit }, { timeout_ms: 2_000 })
    await held.hungUp()
    expect(await reached(core, taskId)).toMatchObject({ status: 'TIMED_OUT' })
    held.letGo()
    await until(async () => (await foldersLeft()).length === 0)
    expect(await records('late', commit)).toMatchObject([{ state: 'timed_out', conditions: [{ reason: 'timed_out' }] }])
  })

  test.for([
    ['repository_not_found', async () => ({ repository: `http://${server.host}/none.git` })],
    ['ref_not_found', async () => ({ repository: (await server.repository('no-ref')).url, ref: 'none' })],
    ['ref_not_found', async () => ({ repository: (await server.repository('empty')).url })],
    ['commit_not_found', async () => ({ repository: (await server.repository('none')).url, commit: 'a'.repeat(40) })],
    [
      'commit_not_found',
      async () => {
        const repository = await server.repository('tree')
        await repository.commit({ a: '1\n' })
        return { repository: repository.url, commit: (await repository.git('rev-parse', 'HEAD^{tree}')).trim() }
      },
    ],
  ] as const)('%s ends the task at once', async ([code, input]) => {
    const taskId = await submitted(await input())
    expect(await reached(core, taskId)).toMatchObject({
      status: 'FAILED',
      attempt: 1,
      error: { code, retryable: false },
    })
    expect(await eventTypesOf(core, taskId)).not.toContain('retrying')
    expect(await foldersLeft()).toEqual([])
  })

  test('what failed shows in the record, and may be asked for again', async () => {
    const commit = 'b'.repeat(40)
    const { url: repository } = await server.repository('again')
    const tasks = []
    for (let i = 0; i < 2; i++) {
      const taskId = await submitted({ repository, commit })
      await reached(core, taskId)
      tasks.push(taskId)
      expect(await records('again', commit)).toMatchObject([
        { state: 'failed', conditions: [{ reason: 'commit_not_found' }] },
      ])
    }
    expect(new Set(tasks).size).toBe(2)
  })

  test('a commit that is too large ends git, and the task', async () => {
    const small = analysis({ maxBytes: 1_048_576 })
    const other = await startGovernedCore(policy)
    const bounded = await startWorker(other, [small])
    const repository = await server.repository('large')
    const commit = await repository.commit({ noise: randomBytes(4 * 1_048_576) })
    const task = { operation: small, input: { repository: repository.url, commit } }
    expect(await reached(other, await accept(other, task.operation, { input: task.input }))).toMatchObject({
      status: 'FAILED',
      error: { code: 'repository_too_large', detail: expect.stringContaining('larger than 1 MiB') },
    })
    expect(await foldersLeft()).toEqual([])
    await bounded.stop(0)
    await other.stop()
  })

  test('what is large only when it is unpacked is not read', async () => {
    const repository = await server.repository('bomb')
    const commit = await repository.commit({ 'zeros.txt': Buffer.alloc(64 * 1_048_576, '0\n') })
    expect(await analysed({ repository: repository.url, commit })).toMatchObject({
      files: 1,
      bytes: 64 * 1_048_576,
      lines: 0,
      uncounted_files: 1,
    })
  })

  test('what a worker that died has left goes after a day', async () => {
    const repository = await server.repository('left')
    const commit = await repository.commit({ a: '1\n' })
    const old = join(folder, 'sluice-analysis-old')
    const fresh = join(folder, 'sluice-analysis-fresh')
    await mkdir(join(old, 'objects'), { recursive: true })
    await mkdir(fresh)
    const before = Date.now() / 1_000 - 86_500
    await utimes(old, before, before)
    await analysed({ repository: repository.url, commit })
    expect(await foldersLeft()).toEqual(['sluice-analysis-fresh'])
    await rm(fresh, { recursive: true })
  })

  test('what the worker’s user has told git is not heard', async () => {
    const repository = await server.repository('told')
    const commit = await repository.commit({ a: '1\n' })
    const told = {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: `url.http://127.0.0.1:1/.insteadOf`,
      GIT_CONFIG_VALUE_0: `http://${server.host}/`,
      https_proxy: 'http://127.0.0.1:1',
      http_proxy: 'http://127.0.0.1:1',
    }
    Object.assign(process.env, told)
    try {
      await analysed({ repository: repository.url, commit })
    } finally {
      for (const name of Object.keys(told)) delete process.env[name]
    }
  })

  test('a redirect is not followed', async () => {
    const elsewhere = await startGitServer()
    const target = await elsewhere.repository('secret')
    await target.commit({ a: '1\n' })
    const stopRedirecting = server.refuse('info', 302, {
      location: `${target.url}/info/refs?service=git-upload-pack`,
    })
    const taskId = await submitted({ repository: `http://${server.host}/redirected.git` })
    expect(await reached(core, taskId)).toMatchObject({ status: 'FAILED', error: { code: 'repository_refused' } })
    expect(elsewhere.asked).toEqual([])
    stopRedirecting()
    await elsewhere.stop()
  })

  test.for([
    '--upload-pack=touch /tmp/pwned',
    'ext::sh -c touch% /tmp/pwned',
    'file:///etc',
    '/etc/passwd',
    'ssh://-oProxyCommand=touch/x',
    '-oProxyCommand=x:y/z',
    'git@github.com:acme/shop.git',
    'git://github.com/acme/shop',
    'http://github.com/acme/shop',
    'https://169.254.169.254/latest/meta-data',
    'https://2852039166/x',
    'https://127.0.0.1/x',
    'https://[::1]/x',
    'https://localhost/x',
    'https://10.0.0.1/x',
    'https://metadata.google.internal/x',
    'https://user:password@github.com/acme/shop',
    'https://github.com',
    'https://github.com/acme/shop?upload-pack=x',
  ])('refuses %s, and nothing changes', async (repository) => {
    const count = async () => {
      const { rows } = await core.database.pool.query<{ n: string }>('select count(*) as n from sluice.tasks')
      return rows[0]?.n
    }
    const tasks = await count()
    const { status, body } = await ask({ repository })
    expect(status).toBe(422)
    expect(body).toMatchObject({ code: 'invalid_input', errors: [{ pointer: '/repository' }] })
    expect(await count()).toBe(tasks)
  })

  test.for(['--upload-pack=x', '-x', 'a..b', 'a b', 'a*', 'x.lock', 'a\nb', 'refs/heads/', '@{-1}'])(
    'refuses the ref %j',
    async (ref) => {
      expect(await ask({ repository: `http://${server.host}/moved.git`, ref })).toMatchObject({
        status: 422,
        body: { errors: [{ pointer: '/ref' }] },
      })
    },
  )

  test('takes a ref or a commit, not both', async () => {
    const both = { repository: `http://${server.host}/moved.git`, ref: 'main', commit: 'a'.repeat(40) }
    expect(await ask(both)).toMatchObject({ status: 422, body: { errors: [{ pointer: '/ref' }] } })
  })
})
