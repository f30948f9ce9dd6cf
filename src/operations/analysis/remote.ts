import { isIP } from 'node:net'
import { PermanentError, TargetUnavailableError, TransientError } from '../errors.ts'
import { bareHost, pinAddress, RefusedAddressError, type Resolve } from '../../platform/public-address.ts'
import { raceSignal } from '../../kubernetes/race-signal.ts'
import { type GitHosts, isKnownHost, refuseRepository } from './repository-url.ts'
import { GitFailedError } from './run-git.ts'

/** A repository that git may ask, and the settings that hold git to the address that was looked at. */
export interface Remote {
  readonly url: string
  readonly settings: readonly string[]
}

export interface RemoteOptions {
  readonly hosts: GitHosts
  /** @default DNS */
  readonly resolve?: Resolve | undefined
  readonly signal: AbortSignal
}

/**
 * Looks at where the repository is. Git connects to that address and no other, since asking DNS again could be answered
 * otherwise. @throws PermanentError `repository_refused`, TargetUnavailableError `repository_unavailable`
 */
export async function findRemote(repository: string, { hosts, resolve, signal }: RemoteOptions): Promise<Remote> {
  const refusal = refuseRepository(repository, hosts)
  if (refusal !== undefined) throw refused(`The repository's URL ${refusal}.`)
  const url = new URL(repository)
  if (isKnownHost(url, hosts)) return { url: url.href, settings: ['protocol.http.allow=always'] }
  try {
    const { address, family } = await raceSignal(pinAddress(url, { ...(resolve && { resolve }) }), signal)
    if (isIP(bareHost(url)) !== 0) return { url: url.href, settings: [] }
    const port = url.port === '' ? '443' : url.port
    const literal = family === 6 ? `[${address}]` : address
    return { url: url.href, settings: [`http.curloptResolve=${url.hostname}:${port}:${literal}`] }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof RefusedAddressError) throw refused(error.message)
    throw unavailable(repository, error instanceof Error ? error.message : String(error), error)
  }
}

const refused = (message: string): PermanentError => new PermanentError(message, { code: 'repository_refused' })

const unavailable = (repository: string, why: string, cause: unknown): TargetUnavailableError =>
  new TargetUnavailableError(`${repository} cannot be reached: ${why}`, { code: 'repository_unavailable', cause })

/** What a failure of git means for the task. What is no failure of git is thrown as it is. */
export function explainGit(error: unknown, { repository, sought }: { repository: string; sought: string }): Error {
  if (!(error instanceof GitFailedError)) return error instanceof Error ? error : new Error(String(error))
  const { said } = error
  const status = Number(/The requested URL returned error: (\d{3})/.exec(said)?.[1] ?? 0)
  if (status >= 300 && status < 400) {
    return refused(`${repository} answers with a redirect (${status}), which is not followed. Name where it leads to.`)
  }
  if (isAbsent(status, said)) {
    const message = `There is no repository ${repository}, or it is not public.`
    return new PermanentError(message, { code: 'repository_not_found', cause: error })
  }
  if (/not our ref|unadvertised object|couldn't find remote ref|remote did not send all necessary/i.test(said)) {
    const message = `${repository} has no ${sought}, or does not give it out.`
    return new PermanentError(message, { code: 'commit_not_found', cause: error })
  }
  if (status > 0 || /unable to access|RPC failed|hung up|early EOF|disconnect|timed out|TLS|SSL|curl/i.test(said)) {
    return unavailable(repository, said, error)
  }
  return new TransientError(`git failed on ${repository}: ${said}`, { code: 'git_failed', cause: error })
}

const isAbsent = (status: number, said: string): boolean =>
  [401, 403, 404, 410].includes(status) ||
  /could not read (Username|Password)|Authentication failed|repository '.*' not found|not valid: is this a git repository/i.test(
    said,
  )
