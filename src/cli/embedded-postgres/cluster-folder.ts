import { chmod, chown, lchown, mkdtemp, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CannotStartError } from '../cannot-start-error.ts'
import type { Account } from './postgres-account.ts'
import { shippedMajorVersion } from './postgres-binaries.ts'
import { cannotChangeUser, describeSpawnError, folderArgument, spawnProgram } from './spawn-program.ts'

/** The owner of an existing cluster. Undefined where there is none yet. */
export async function readClusterOwner(clusterDir: string): Promise<Account | undefined> {
  try {
    const { uid, gid } = await stat(clusterDir)
    return { uid, gid }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Refuses, in one sentence, what the shipped PostgreSQL cannot open.
 * @returns whether there is a cluster at all
 */
export async function checkCluster(dataDir: string, clusterDir: string): Promise<boolean> {
  if ((await readVersion(dataDir)) !== undefined) {
    throw new CannotStartError(
      `${dataDir} is the data folder of another PostgreSQL. Give Sluice a folder of its own with --data, ` +
        'or set DATABASE_URL to use that PostgreSQL.',
    )
  }
  const owner = await readClusterOwner(clusterDir)
  if (owner === undefined) return false
  const uid = process.getuid?.()
  if (uid !== undefined && uid !== 0 && owner.uid !== uid) {
    throw new CannotStartError(
      `The database in ${clusterDir} belongs to another user (uid ${owner.uid}), so PostgreSQL cannot open it. ` +
        'Start Sluice as the user who created it, or choose another folder with --data.',
    )
  }
  const version = await readVersion(clusterDir)
  if (version === undefined) {
    if (await isEmptyFolder(clusterDir)) return false
    throw new CannotStartError(
      `${clusterDir} is damaged or no PostgreSQL data folder: it has no readable PG_VERSION. ` +
        'Restore it from a copy, or move it away to begin anew.',
    )
  }
  const major = Number(version.split('.')[0])
  if (major < 14) {
    throw new CannotStartError(
      `${clusterDir} was written by PostgreSQL ${version}, and Sluice needs 14 or newer. Move it away to begin anew, ` +
        `or upgrade it to ${shippedMajorVersion} with pg_upgrade.`,
    )
  }
  if (major !== shippedMajorVersion) {
    throw new CannotStartError(
      `${clusterDir} was written by PostgreSQL ${version}, and this Sluice brings ${shippedMajorVersion}, which cannot ` +
        'open it. Run that PostgreSQL yourself and set DATABASE_URL, convert it with pg_upgrade, or move it away to begin anew.',
    )
  }
  return true
}

async function readVersion(folder: string): Promise<string | undefined> {
  const version = (await readFile(join(folder, 'PG_VERSION'), 'utf8').catch(() => '')).trim()
  return /^\d+(\.\d+)?$/.test(version) ? version : undefined
}

async function isEmptyFolder(folder: string): Promise<boolean> {
  const entries = await readdir(folder).catch(() => undefined)
  return entries?.length === 0
}

export interface CreateClusterOptions {
  readonly initdb: string
  readonly account: Account | undefined
  readonly password: string
  /** Whether the new files are flushed to the disk. @default true */
  readonly sync?: boolean
  readonly signal?: AbortSignal
}

/** Makes a new cluster beside its place and moves it there when it is complete: a start that was killed is no damage. */
export async function createCluster(dataDir: string, clusterDir: string, options: CreateClusterOptions): Promise<void> {
  const partial = await mkdtemp(partialPrefix(clusterDir))
  const passwordPath = join(dataDir, '.initdb-password')
  const passwordFile = await open(passwordPath, 'w+', 0o600)
  try {
    if (options.account !== undefined) await giveFolderTo(partial, options.account)
    // The open file is all that initdb gets to see: it may not be able to enter the folder.
    await rm(passwordPath)
    await passwordFile.writeFile(`${options.password}\n`)
    if (options.account !== undefined) await passwordFile.chown(options.account.uid, options.account.gid)
    await runInitdb(partial, passwordFile.fd, options)
  } catch (error) {
    await rm(partial, { recursive: true, force: true })
    throw error
  } finally {
    await passwordFile.close()
  }
  await rename(partial, clusterDir)
}

function partialPrefix(clusterDir: string): string {
  return `${clusterDir}.partial-`
}

/** Removes what starts left that were killed while they created the cluster. */
export async function removePartialClusters(clusterDir: string): Promise<void> {
  for (const name of await readdir(dirname(clusterDir))) {
    const path = join(dirname(clusterDir), name)
    if (!path.startsWith(partialPrefix(clusterDir))) continue
    // The initdb of a killed start may write for another second. Then the next start removes what it leaves.
    await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}

function runInitdb(clusterDir: string, passwordFd: number, options: CreateClusterOptions): Promise<void> {
  const args = [
    `--pgdata=${folderArgument(clusterDir, options.account)}`,
    '--username=postgres',
    '--pwfile=/dev/fd/3',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // The built-in locale sorts alike on every machine and needs none to be installed.
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    ...(options.sync === false ? ['--no-sync'] : []),
  ]
  return new Promise((resolve, reject) => {
    const child = spawnProgram(options.initdb, args, {
      clusterDir,
      account: options.account,
      stdio: ['ignore', 'ignore', 'pipe', passwordFd],
    })
    // With its children, and at once: what it has written so far is thrown away.
    const end = () => killGroup(child.pid)
    process.once('exit', end)
    options.signal?.addEventListener('abort', end)
    let complaints = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaints += text))
    let failure: Error | undefined
    child.once('error', (error) => (failure = describeSpawnError(error)))
    child.once('close', (code, signal) => {
      process.off('exit', end)
      options.signal?.removeEventListener('abort', end)
      if (code === 0) resolve()
      else if (options.signal?.aborted === true) reject(options.signal.reason)
      else reject(failure ?? createFailed(complaints, code ?? signal))
    })
  })
}

function killGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL')
  } catch {
    // Gone already.
  }
}

function createFailed(complaints: string, end: unknown): CannotStartError {
  const line = complaints.split('\n').find((text) => /error|fatal|could not|cannot/i.test(text))
  const reason = line?.replace(/^(initdb: error:|.*FATAL:) */, '').trim() ?? `initdb ended with ${String(end)}`
  return new CannotStartError(`The database could not be created (${reason}).`)
}

/** Also mends a cluster that the superuser copied, which then belongs to root. */
export async function giveClusterTo(clusterDir: string, account: Account): Promise<void> {
  const { uid } = await stat(clusterDir)
  if (uid === account.uid) return
  for (const entry of await readdir(clusterDir, { recursive: true })) {
    await lchown(join(clusterDir, entry), account.uid, account.gid)
  }
  await giveFolderTo(clusterDir, account)
}

async function giveFolderTo(folder: string, account: Account): Promise<void> {
  try {
    await chown(folder, account.uid, account.gid)
  } catch (error) {
    throw cannotChangeUser(error)
  }
  await chmod(folder, 0o700)
}
