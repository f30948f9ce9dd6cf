import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { gitIsHere, type GitServer, type ServedRepository, startGitServer } from '../../../test/helpers/git-server.ts'
import { createManualClock } from '../../platform/clock.ts'
import { createMemoryCache } from '../../platform/memory/memory-cache.ts'
import { findHead, type HeadQuery } from './remote-heads.ts'
import { findRemote } from './remote.ts'
import { GitFailedError, runGit } from './run-git.ts'

const never = new AbortController().signal
const repository = 'https://git.example.com/acme/shop'

describe('where a repository is, is looked at before git connects', () => {
  const at = (address: string, family = 4) =>
    findRemote(repository, { hosts: [], signal: never, resolve: async () => [{ address, family }] })

  test.each([
    ['127.0.0.1', 4],
    ['10.1.2.3', 4],
    ['169.254.169.254', 4],
    ['100.100.100.200', 4],
    ['::1', 6],
    ['fd00:ec2::254', 6],
    ['::ffff:127.0.0.1', 6],
  ])('a name that leads to %s is refused', async (address, family) => {
    await expect(at(address, family)).rejects.toMatchObject({ code: 'repository_refused', retryable: false })
  })

  test('git is held to the address that was looked at', async () => {
    expect((await at('1.1.1.1')).settings).toEqual(['http.curloptResolve=git.example.com:443:1.1.1.1'])
    expect((await at('2606:4700::1', 6)).settings).toEqual(['http.curloptResolve=git.example.com:443:[2606:4700::1]'])
  })

  test('a name that cannot be looked up now may be later', async () => {
    const resolve = () => Promise.reject(new Error('getaddrinfo EAI_AGAIN git.example.com'))
    await expect(findRemote(repository, { hosts: [], signal: never, resolve })).rejects.toMatchObject({
      code: 'repository_unavailable',
      retryable: true,
    })
  })
})

describe.skipIf(!gitIsHere)('git itself', () => {
  let folder: string
  let server: GitServer
  let served: ServedRepository
  let commit: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'run-git-'))
    server = await startGitServer()
    served = await server.repository('shop')
    commit = await served.commit({ a: '1\n' })
  })
  afterAll(async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const git = (settings: readonly string[], ...args: readonly string[]) =>
    runGit(args, { folder, signal: never, settings })
  const http = 'protocol.http.allow=always'

  test('connects to the given address, whatever DNS says', async () => {
    const { port, pathname } = new URL(served.url)
    const pin = `http.curloptResolve=git.example.invalid:${port}:127.0.0.1`
    const url = `http://git.example.invalid:${port}${pathname}`
    expect(await git([http, pin], 'ls-remote', '--', url, 'HEAD')).toContain(commit)
    await expect(git([http], 'ls-remote', '--', url, 'HEAD')).rejects.toThrow('Could not resolve host')
  })

  test.each(['file:///etc', 'ext::sh -c touch% pwned', 'ssh://host/x', 'git://host/x', 'http://127.0.0.1/x', '/etc'])(
    'speaks no other protocol: %s',
    async (url) => {
      await expect(git([], 'ls-remote', '--', url)).rejects.toThrow(/transport '\w+' not allowed/)
      expect(existsSync(join(folder, 'pwned'))).toBe(false)
    },
  )

  test('takes what looks like an option for a place', async () => {
    await expect(git([], 'ls-remote', '--', '--upload-pack=touch pwned')).rejects.toBeInstanceOf(GitFailedError)
    expect(existsSync(join(folder, 'pwned'))).toBe(false)
  })

  test('asks nobody for a password', async () => {
    const stop = server.refuse('info', 401, { 'www-authenticate': 'Basic realm="git"' })
    await expect(git([http], 'ls-remote', '--', served.url)).rejects.toThrow('terminal prompts disabled')
    stop()
  })

  test('callers at once share a question; one who goes away takes it from nobody', async () => {
    const cache = createMemoryCache({ clock: createManualClock() })
    const remote = { url: served.url, settings: [http] }
    const query = (signal: AbortSignal): HeadQuery => ({
      repository: served.url,
      remote,
      ref: 'main',
      folder,
      signal,
    })
    const find = (signal: AbortSignal) => findHead(query(signal), { cache, ttlMs: 1_000 })
    const questions = () => server.asked.filter((question) => question === 'refs').length
    const before = questions()
    const head = { commit, ref: 'refs/heads/main' }
    expect(await Promise.all([find(never), find(never), find(never)])).toEqual([head, head, head])
    expect(questions() - before).toBe(1)

    const held = server.hold('refs')
    const leaving = new AbortController()
    const impatient = createMemoryCache({ clock: createManualClock() })
    const lone = findHead(query(leaving.signal), { cache: impatient, ttlMs: 1_000 })
    const patient = findHead(query(never), { cache: impatient, ttlMs: 1_000 })
    await held.asked()
    leaving.abort(new Error('gone'))
    await expect(lone).rejects.toThrow('gone')
    await held.hungUp()
    held.letGo()
    expect(await patient).toEqual(head)
  })
})
