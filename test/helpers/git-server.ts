import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { until } from './until.ts'

/** Whether git, and its own server, are on this machine. */
export const gitIsHere =
  spawnSync('git', ['http-backend'], { env: { PATH: process.env['PATH'] } }).status !== null &&
  spawnSync('git', ['--version']).status === 0
if (!gitIsHere) console.warn('git is not on this machine: its tests are skipped.')

/** What git asks of a server: where it is, which refs it has, or a pack. */
export type GitQuestion = 'info' | 'refs' | 'fetch'

/** A repository that is served. */
export interface ServedRepository {
  readonly url: string
  /** Commits files (name → content) to a branch, on top of what it has, and makes the branch where it is missing. */
  commit(files: Readonly<Record<string, string | Buffer>>, options?: CommitOptions): Promise<string>
  git(...args: readonly string[]): Promise<string>
}

export interface CommitOptions {
  /** @default 'main' */
  readonly branch?: string
  /** @default 'A commit' */
  readonly message?: string
}

/** Git's own HTTP server (`git http-backend`) on loopback, which can be made to misbehave. */
export interface GitServer {
  readonly host: string
  /** What was asked since the start, in order. */
  readonly asked: GitQuestion[]
  repository(name: string): Promise<ServedRepository>
  /** Answers the next questions of a kind with this status, and its headers. Returns how to stop that. */
  refuse(question: GitQuestion, status: number, headers?: Record<string, string>): () => void
  /** Leaves questions of a kind without an answer until it is let go. */
  hold(question: GitQuestion): Held
  stop(): Promise<void>
}

export interface Held {
  /** Resolves when so many wait. */
  asked(count?: number): Promise<unknown>
  /** Resolves when so many who waited have hung up. */
  hungUp(count?: number): Promise<unknown>
  letGo(): void
}

interface Fault {
  readonly question: GitQuestion
  answer(response: ServerResponse): Promise<boolean>
}

export async function startGitServer(): Promise<GitServer> {
  const root = await mkdtemp(join(tmpdir(), 'git-server-'))
  const asked: GitQuestion[] = []
  const faults = new Set<Fault>()
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = Buffer.concat((await request.toArray()) as Buffer[])
    const question = questionOf(request, body)
    asked.push(question)
    for (const fault of faults) if (fault.question === question && (await fault.answer(response))) return
    await runBackend(root, { request, body, response })
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    host,
    asked,
    repository: (name) => makeRepository(root, name, `http://${host}/${name}.git`),
    refuse: (question, status, headers = {}) => {
      const fault: Fault = {
        question,
        answer: async (response) => {
          response.writeHead(status, headers).end()
          return true
        },
      }
      faults.add(fault)
      return () => void faults.delete(fault)
    },
    hold: (question) => holdQuestions(faults, question),
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await rm(root, { recursive: true, force: true })
    },
  }
}

function holdQuestions(faults: Set<Fault>, question: GitQuestion): Held {
  const gate = Promise.withResolvers<boolean>()
  let waiting = 0
  let gone = 0
  const fault: Fault = {
    question,
    answer: (response) => {
      waiting++
      response.once('close', () => {
        if (!response.writableEnded) gone++
      })
      return gate.promise
    },
  }
  faults.add(fault)
  return {
    asked: (count = 1) => until(() => waiting >= count),
    hungUp: (count = 1) => until(() => gone >= count),
    letGo: () => {
      faults.delete(fault)
      gate.resolve(false)
    },
  }
}

function questionOf({ method }: IncomingMessage, body: Buffer): GitQuestion {
  if (method === 'GET') return 'info'
  return body.includes('command=ls-refs') ? 'refs' : 'fetch'
}

interface Exchange {
  readonly request: IncomingMessage
  readonly body: Buffer
  readonly response: ServerResponse
}

// CGI, as RFC 3875 has it: the request in variables, the answer's headers before its body.
async function runBackend(root: string, { request, body, response }: Exchange): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://server')
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: String(request.headers['content-encoding'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  child.stdin.on('error', () => undefined).end(body)
  const output = Buffer.concat((await child.stdout.toArray()) as Buffer[])
  const end = output.indexOf('\r\n\r\n')
  const headers = output
    .subarray(0, end)
    .toString()
    .split('\r\n')
    .map((line) => line.split(': ', 2) as [string, string])
  const status = headers.find(([name]) => name === 'Status')?.[1] ?? '200'
  for (const [name, value] of headers) if (name !== 'Status') response.setHeader(name, value)
  response.writeHead(Number.parseInt(status, 10)).end(output.subarray(end + 4))
}

async function makeRepository(root: string, name: string, url: string): Promise<ServedRepository> {
  const bare = join(root, `${name}.git`)
  const work = join(root, 'work', name)
  await mkdir(work, { recursive: true })
  await run(root, ['init', '--quiet', '--bare', '--initial-branch=main', bare])
  await run(work, ['init', '--quiet', '--initial-branch=main'])
  const git = (...args: readonly string[]) => run(work, args)
  return {
    url,
    git,
    commit: async (files, { branch = 'main', message = 'A commit' } = {}) => {
      // A branch without a commit cannot be switched to again.
      await git('switch', '--quiet', branch).catch(() => git('switch', '--quiet', '-C', branch))
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(work, path)), { recursive: true })
        await writeFile(join(work, path), content)
      }
      await git('add', '--all')
      await git('commit', '--quiet', '--allow-empty', '--message', message)
      await git('push', '--quiet', '--force', bare, '--all')
      return (await git('rev-parse', 'HEAD')).trim()
    },
  }
}

async function run(cwd: string, args: readonly string[]): Promise<string> {
  const child = spawn('git', args, {
    cwd,
    env: {
      PATH: process.env['PATH'],
      HOME: cwd,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'Ada',
      GIT_AUTHOR_EMAIL: 'ada@example.com',
      GIT_AUTHOR_DATE: '2026-01-02T03:04:05Z',
      GIT_COMMITTER_NAME: 'Grace',
      GIT_COMMITTER_EMAIL: 'grace@example.com',
      GIT_COMMITTER_DATE: '2026-01-02T03:04:06+01:00',
    },
  })
  const [output, errors, [code]] = await Promise.all([
    child.stdout.toArray() as Promise<Buffer[]>,
    child.stderr.toArray() as Promise<Buffer[]>,
    once(child, 'close') as Promise<[number | null]>,
  ])
  if (code !== 0) throw new Error(`git ${args.join(' ')}: ${Buffer.concat(errors).toString()}`)
  return Buffer.concat(output).toString()
}
