import { constants } from 'node:fs'
import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { randomUUID } from 'node:crypto'
import { identifyProcess } from './process-identity.ts'

export interface FolderLock {
  /** Gives the lock back. May be called again. */
  release(): Promise<void>
}

/** Another living process holds the lock. */
export class FolderLockedError extends Error {
  readonly code = 'folder_locked'
  override readonly name = 'FolderLockedError'
  readonly pid: number

  constructor(path: string, pid: number) {
    super(`Process ${pid} holds ${path}.`)
    this.pid = pid
  }
}

interface Holder {
  readonly pid: number
  readonly identity: string
}

/**
 * Makes `path` a lock file of this process. A lock whose holder is dead (killed, or from before a reboot) is taken over.
 * @throws FolderLockedError when a living process, this one included, holds it.
 */
export async function lockFolder(path: string): Promise<FolderLock> {
  const content = JSON.stringify({ pid: process.pid, identity: identifyProcess(process.pid), key: randomUUID() })
  for (;;) {
    if (await createExclusively(path, content)) return { release: () => releaseLock(path, content) }
    const found = await readSettled(path)
    if (found === undefined) continue
    const holder = parseHolder(found)
    if (holder !== undefined && identifyProcess(holder.pid) === holder.identity) {
      throw new FolderLockedError(path, holder.pid)
    }
    await removeStale(path, found)
  }
}

async function createExclusively(path: string, content: string): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false
    throw error
  }
}

/** An empty file is one that its holder is just writing, or died writing: it gets a moment. */
async function readSettled(path: string): Promise<string | undefined> {
  for (let attempt = 0; ; attempt++) {
    try {
      const content = await readFile(path, 'utf8')
      if (parseHolder(content) !== undefined || attempt === 20) return content
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined
      throw error
    }
    await delay(10)
  }
}

function parseHolder(content: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(content)
    if (typeof value !== 'object' || value === null || !('pid' in value) || !('identity' in value)) return undefined
    if (typeof value.pid !== 'number' || typeof value.identity !== 'string') return undefined
    return { pid: value.pid, identity: value.identity }
  } catch {
    return undefined
  }
}

/** Of several that find the same stale lock one moves it away; who moved a fresh one instead puts it back. */
async function removeStale(path: string, stale: string): Promise<void> {
  const moved = `${path}.${randomUUID()}`
  try {
    await rename(path, moved)
    if ((await readFile(moved, 'utf8')) !== stale) await copyFile(moved, path, constants.COPYFILE_EXCL)
  } catch (error) {
    if (!isCode(error, 'ENOENT') && !isCode(error, 'EEXIST')) throw error
  } finally {
    await rm(moved, { force: true })
  }
}

async function releaseLock(path: string, content: string): Promise<void> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found === content) await rm(path, { force: true })
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
