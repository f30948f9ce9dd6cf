import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { CannotStartError } from '../cannot-start-error.ts'
import type { Account } from './postgres-account.ts'

export interface ProgramOptions {
  readonly clusterDir: string
  readonly account: Account | undefined
  readonly stdio: StdioOptions
}

/**
 * Starts one of PostgreSQL's programs in the cluster's folder, as the account. A session of its own keeps Ctrl-C in the
 * terminal away from it; of the environment it gets what it needs.
 */
export function spawnProgram(program: string, args: readonly string[], options: ProgramOptions): ChildProcess {
  const { PATH, LD_LIBRARY_PATH } = process.env
  try {
    return spawn(program, args, {
      cwd: options.clusterDir,
      detached: true,
      stdio: options.stdio,
      env: { LC_ALL: 'C', TZ: 'UTC', ...(PATH && { PATH }), ...(LD_LIBRARY_PATH && { LD_LIBRARY_PATH }) },
      ...options.account,
    })
  } catch (error) {
    // Some failures Node throws, others it emits.
    throw error instanceof Error ? describeSpawnError(error) : error
  }
}

/**
 * How a program is told where the cluster is. For an account that may not enter the folders above, it is "where you
 * stand": the superuser puts the process there before it becomes the account, and Linux resolves this link without
 * looking at the folders above it.
 */
export function folderArgument(clusterDir: string, account: Account | undefined): string {
  return account === undefined ? clusterDir : '/proc/self/cwd'
}

/** Node cannot tell a missing program from one whose loader is missing, which is what a system without glibc says. */
export function describeSpawnError(error: Error): Error {
  const code = 'code' in error ? error.code : undefined
  if (code === 'ENOENT' || code === 'ENOEXEC') {
    return new CannotStartError(
      'The PostgreSQL that comes with Sluice does not run on this system (it needs glibc). ' +
        'Set DATABASE_URL to a PostgreSQL 14 or newer.',
      { cause: error },
    )
  }
  if (process.getuid?.() === 0 && (code === 'EPERM' || code === 'EINVAL')) return cannotChangeUser(error)
  return error
}

export function cannotChangeUser(error: unknown): CannotStartError {
  return new CannotStartError(
    'PostgreSQL does not run as root, and this process may not hand it to an unprivileged user. ' +
      'Start Sluice as an ordinary user, or set DATABASE_URL to a PostgreSQL 14 or newer.',
    { cause: error },
  )
}
