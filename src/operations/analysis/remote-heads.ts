import { createHash } from 'node:crypto'
import { raceSignal } from '../../kubernetes/race-signal.ts'
import type { Cache } from '../../platform/cache.ts'
import { PermanentError } from '../errors.ts'
import { explainGit, type Remote } from './remote.ts'
import { runGit } from './run-git.ts'

/** A commit, and the branch or tag that named it. */
export interface Head {
  readonly commit: string
  /** `refs/heads/main`; null where the remote's HEAD is on no branch. */
  readonly ref: string | null
}

export interface HeadQuery {
  readonly repository: string
  readonly remote: Remote
  /** A branch or tag; undefined for the branch that the remote's HEAD is on. */
  readonly ref: string | undefined
  readonly folder: string
  readonly signal: AbortSignal
}

export interface HeadOptions {
  readonly cache: Cache
  /** Milliseconds for which an answer is believed. */
  readonly ttlMs: number
}

/**
 * Where a branch or tag is, kept in the cache for a short while: whoever asks for the same one at once shares one question.
 * @throws PermanentError `ref_not_found`, and what `explainGit` makes of git's errors
 */
export async function findHead(query: HeadQuery, { cache, ttlMs }: HeadOptions): Promise<Head> {
  const key = headKey(query)
  for (;;) {
    try {
      return await raceSignal(
        cache.getOrSet(key, () => askRemote(query), { ttlMs }),
        query.signal,
      )
    } catch (error) {
      query.signal.throwIfAborted()
      // It was another task's question, and that task has ended: ours is still open.
      if (!(error instanceof QuestionAbortedError)) throw error
    }
  }
}

class QuestionAbortedError extends Error {}

// Of bounded length, as keys are; the repository's URL and the ref are not.
function headKey({ repository, ref }: HeadQuery): string {
  return `git-heads:${createHash('sha256')
    .update(JSON.stringify([repository, ref ?? null]))
    .digest('hex')}`
}

async function askRemote({ repository, remote, ref, folder, signal }: HeadQuery): Promise<Head> {
  const names = ref === undefined ? ['HEAD'] : candidatesOf(ref)
  // An annotated tag is an object of its own: `^{}` is the commit that it stands for.
  const patterns = names.flatMap((name) => (name.startsWith('refs/tags/') ? [`${name}^{}`, name] : [name]))
  const { settings, url } = remote
  try {
    const text = await runGit(['ls-remote', '--symref', '--', url, ...patterns], { folder, signal, settings })
    return readHead(text, { repository, ref, patterns })
  } catch (error) {
    if (signal.aborted) throw new QuestionAbortedError('the task that asked has ended', { cause: error })
    throw explainGit(error, { repository, sought: ref ?? 'HEAD' })
  }
}

// A branch before a tag of the same name.
const candidatesOf = (ref: string): string[] =>
  /^refs\/(heads|tags)\//.test(ref) ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`]

function readHead(
  text: string,
  { repository, ref, patterns }: Pick<HeadQuery, 'repository' | 'ref'> & { readonly patterns: readonly string[] },
): Head {
  const lines = text.split('\n').map((line) => line.split('\t'))
  for (const pattern of patterns) {
    const commit = lines.find(([id, name]) => name === pattern && id !== undefined && /^[0-9a-f]{40}$/.test(id))?.[0]
    if (commit === undefined) continue
    const symref = lines.find(([id, name]) => name === pattern && id?.startsWith('ref: ') === true)?.[0]
    const branch = pattern === 'HEAD' ? symref?.slice('ref: '.length) : pattern.replace(/\^\{\}$/, '')
    return { commit, ref: branch ?? null }
  }
  const message =
    ref === undefined ? `${repository} has no commit yet.` : `${repository} has no branch and no tag called ${ref}.`
  throw new PermanentError(message, { code: 'ref_not_found' })
}
