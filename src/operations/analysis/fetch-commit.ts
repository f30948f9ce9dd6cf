import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { PermanentError } from '../errors.ts'
import { explainGit, type Remote } from './remote.ts'
import { runGit } from './run-git.ts'

export interface Fetch {
  readonly repository: string
  readonly remote: Remote
  readonly commit: string
  /** Empty; holds the repository afterwards. */
  readonly folder: string
  readonly maxBytes: number
  readonly signal: AbortSignal
  /** Told now and then how many bytes have come. */
  onBytes(bytes: number): void
}

const lookMs = 250

/**
 * Fetches one commit, whole and without its history, into a bare repository.
 * @throws PermanentError `commit_not_found`, `repository_too_large`, `repository_not_found`, `repository_refused`
 */
export async function fetchCommit(fetch: Fetch): Promise<void> {
  const { repository, remote, commit, folder, signal } = fetch
  const ended = new AbortController()
  const tooLarge = new AbortController()
  const run = { folder, settings: remote.settings, signal: AbortSignal.any([signal, tooLarge.signal]) }
  const watching = watchSize(fetch, ended.signal, (error) => tooLarge.abort(error))
  try {
    await runGit(['init', '--quiet', '--bare', '--template=', '.'], run)
    const options = ['--depth=1', '--no-tags', '--no-write-fetch-head', '--no-recurse-submodules', '--quiet']
    await runGit(['fetch', ...options, '--', remote.url, commit], run)
    refuseLarge(fetch, await sizeOf(folder))
    await checkCommit(fetch)
  } catch (error) {
    throw explainGit(error, { repository, sought: `commit ${commit}` })
  } finally {
    ended.abort()
    await watching
  }
}

// A tree or a tag has such an id, too.
async function checkCommit({ repository, commit, folder, signal }: Fetch): Promise<void> {
  const type = (await runGit(['cat-file', '-t', commit], { folder, signal })).trim()
  if (type === 'commit') return
  throw new PermanentError(`${commit} of ${repository} is a ${type}, and no commit.`, { code: 'commit_not_found' })
}

// Git has no bound of its own for what it fetches.
async function watchSize(fetch: Fetch, ended: AbortSignal, refuse: (error: unknown) => void): Promise<void> {
  let before = 0
  while (!ended.aborted) {
    await delay(lookMs, undefined, { signal: ended }).catch(() => undefined)
    const bytes = await sizeOf(fetch.folder)
    try {
      refuseLarge(fetch, bytes)
    } catch (error) {
      refuse(error)
      return
    }
    if (bytes > before && !ended.aborted) fetch.onBytes(bytes)
    before = bytes
  }
}

function refuseLarge({ repository, commit, maxBytes }: Fetch, bytes: number): void {
  if (bytes <= maxBytes) return
  const limit = `${Math.round(maxBytes / 1_048_576)} MiB`
  throw new PermanentError(`Commit ${commit} of ${repository} is larger than ${limit} to fetch.`, {
    code: 'repository_too_large',
  })
}

/** Bytes of all files below a folder; what goes away meanwhile counts for nothing. */
async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        ({ size }) => size,
        () => 0,
      ),
    )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
