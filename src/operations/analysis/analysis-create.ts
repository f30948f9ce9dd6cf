import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { Cache } from '../../platform/cache.ts'
import type { Resolve } from '../../platform/public-address.ts'
import {
  completed,
  defineOperation,
  type Operation,
  type PerformContext,
  type ResourceRecord,
} from '../define-operation.ts'
import { targetName } from '../object-target.ts'
import { fetchCommit } from './fetch-commit.ts'
import { readCommit } from './read-commit.ts'
import { findHead, type Head } from './remote-heads.ts'
import { findRemote } from './remote.ts'
import { type GitHosts, isRefName, nameRepository, refuseRepository, tidyRepository } from './repository-url.ts'
import { checkGit } from './run-git.ts'

export interface AnalysisOptions {
  /** Keeps for a short while where branches are. */
  readonly cache: Cache
  /** @default none: repositories are on the open internet */
  readonly hosts?: GitHosts | undefined
  /** Bytes that a commit may take to fetch. @default 268_435_456 (256 MiB) */
  readonly maxBytes?: number
  /** Milliseconds for which it is believed where a branch is. @default 15_000 */
  readonly headTtlMs?: number
  /** @default DNS */
  readonly resolve?: Resolve
}

function inputOf(hosts: GitHosts) {
  return z.strictObject({
    repository: z
      .string()
      .min(1)
      .max(2_048)
      .overwrite(tidyRepository)
      .refine((text) => refuseRepository(text, hosts) === undefined, {
        error: ({ input }) => refuseRepository(String(input), hosts) ?? 'is refused',
      })
      .describe('https URL of a git repository that needs no credentials'),
    ref: z
      .string()
      .min(1)
      .max(255)
      .refine(isRefName, 'is not the name of a branch or tag')
      .optional()
      .describe('Branch or tag, looked up when the task runs. Without it and without a commit: the default branch'),
    commit: z
      .string()
      .toLowerCase()
      .regex(/^[0-9a-f]{40}$/, 'must be the 40 hexadecimal digits of a commit')
      .optional()
      .describe('The very commit; in place of `ref`'),
  })
}

type Input = z.output<ReturnType<typeof inputOf>>

/**
 * `POST /analyses`: what is in one commit of a repository. The commit is the one that was asked for, or the one that the
 * branch was on when the task first asked; a later attempt stays with it.
 */
export function createAnalysis(options: AnalysisOptions): Operation<Input> {
  return defineOperation({
    type: 'analysis.create',
    title: 'Analyse a commit of a git repository',
    route: { method: 'POST', path: '/analyses' },
    input: inputOf(options.hosts ?? []),
    class: 'long',
    // Git hosts have bad quarters of an hour; the deadline ends it in any case.
    retry: { unavailableMs: 900_000 },
    uniqueKey: ({ repository, ref, commit }) => `${nameRepository(repository)}@${commit ?? ref ?? 'HEAD'}`,
    target: ({ repository, ref, commit }) => targetName(recordedAs(repository, commit ?? ref ?? 'HEAD')),
    validate: ({ ref, commit }) =>
      ref === undefined || commit === undefined
        ? []
        : [{ pointer: '/ref', message: 'is a second say in which commit: name `ref` or `commit`' }],
    perform: (context, input) => inFolder((folder) => analyse(options, { context, input, folder })),
  })
}

interface Analysis {
  readonly context: PerformContext
  readonly input: Input
  readonly folder: string
}

async function analyse(options: AnalysisOptions, { context, input, folder }: Analysis) {
  const { signal, report } = context
  const { repository } = input
  await checkGit({ folder, signal })
  const { hosts = [], resolve, maxBytes = 268_435_456 } = options
  const remote = await findRemote(repository, { hosts, resolve, signal })
  const { commit, ref } = await pinCommit(options, { context, input, remote, folder })
  const record: ResourceRecord = {
    ...recordedAs(repository, commit),
    state: 'running',
    conditions: [],
    details: { repository, ref },
  }
  await context.startRecord(record)
  const step = (done: number, message: string) => report({ done, total: 2, message })
  step(0, `fetching commit ${commit}`)
  await fetchCommit({
    repository,
    remote,
    commit,
    folder,
    maxBytes,
    signal,
    onBytes: (bytes) => step(0, `fetching commit ${commit}: ${(bytes / 1_048_576).toFixed(1)} MiB so far`),
  })
  step(1, `counting what is in commit ${commit}`)
  const found = await readCommit({ repository, commit, folder, signal })
  step(2, `analysed commit ${commit}`)
  const result = { repository, ref, commit, ...found }
  const conditions = [{ type: 'Completed', status: 'True', reason: 'Analysed' }]
  return completed(result, { ...record, state: 'completed', conditions, details: result })
}

interface Pinning extends Analysis {
  readonly remote: Awaited<ReturnType<typeof findRemote>>
}

// An attempt before this one may have asked where the branch is: it may have moved since, and the task is about that commit.
async function pinCommit(options: AnalysisOptions, pinning: Pinning): Promise<Head> {
  const { context, input, remote, folder } = pinning
  const { repository, ref, commit } = input
  if (commit !== undefined) return { commit, ref: null }
  const earlier = await context.startedRecord()
  if (earlier) {
    const known = earlier.details?.['ref']
    return { commit: earlier.ref.name, ref: typeof known === 'string' ? known : null }
  }
  const { cache, headTtlMs: ttlMs = 15_000 } = options
  return findHead({ repository, remote, ref, folder, signal: context.signal }, { cache, ttlMs })
}

/** One record for each commit of a repository, whoever asked for it and how. */
const recordedAs = (repository: string, commit: string) => ({
  cluster: '',
  ref: { apiVersion: 'sluice.dev/v1', kind: 'Analysis', namespace: nameRepository(repository), name: commit },
})

const prefix = 'sluice-analysis-'
/** No deadline is longer than a day. */
const leftoverMs = 86_400_000

/** A folder of its own, which is gone afterwards; so are those of workers that died. */
async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  await removeLeftovers()
  const folder = await mkdtemp(join(tmpdir(), prefix))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function removeLeftovers(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(prefix))
  for (const folder of names.map((name) => join(tmpdir(), name))) {
    const age = await stat(folder).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    )
    // Another worker may be at the same.
    if (age > leftoverMs) await rm(folder, { recursive: true, force: true }).catch(() => undefined)
  }
}
