import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type FolderLock, FolderLockedError, lockFolder } from '../../../src/cli/folder-lock.ts'

const run = promisify(execFile)

/** The top of the repository. */
export const root = fileURLToPath(new URL('../../../', import.meta.url))

/**
 * Builds the program and the console where they are missing or older than their sources, so that a journey never proves
 * yesterday's code. After `npm ci` there is nothing to do.
 */
export async function buildSluice(): Promise<void> {
  await whileAlone(async () => {
    const program = await newest(['src'], isProgramSource)
    if (program > (await builtAt('dist/.tsbuildinfo'))) await runTool('typescript/bin/tsc', ['-b', 'tsconfig.src.json'])
    const page = await newest(['web', 'src/client', 'src/react', 'src/contract'], (name) => !name.includes('.test.'))
    if (page > (await builtAt('dist/web/index.html'))) await runTool('vite/bin/vite.js', ['build', 'web'])
  })
}

/** Several test files may ask at once. */
async function whileAlone(work: () => Promise<void>): Promise<void> {
  const path = join(tmpdir(), `sluice-build-${createHash('sha256').update(root).digest('hex').slice(0, 16)}.lock`)
  const lock = await takeTurn(path)
  try {
    await work()
  } finally {
    await lock.release()
  }
}

async function takeTurn(path: string): Promise<FolderLock> {
  const deadline = performance.now() + 60_000
  for (;;) {
    try {
      return await lockFolder(path)
    } catch (error) {
      if (!(error instanceof FolderLockedError) || performance.now() > deadline) throw error
      await delay(50)
    }
  }
}

const isProgramSource = (name: string) => /\.(ts|tsx|json)$/.test(name) && !/\.test\.tsx?$/.test(name)

async function newest(folders: readonly string[], isSource: (name: string) => boolean): Promise<number> {
  let latest = 0
  for (const folder of folders) {
    for (const entry of await readdir(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !isSource(entry.name)) continue
      latest = Math.max(latest, (await stat(join(entry.parentPath, entry.name))).mtimeMs)
    }
  }
  return latest
}

async function builtAt(path: string): Promise<number> {
  const found = await stat(join(root, path)).catch(() => undefined)
  return found?.mtimeMs ?? 0
}

async function runTool(script: string, args: readonly string[]): Promise<void> {
  try {
    await run(process.execPath, [join(root, 'node_modules', script), ...args], { cwd: root })
  } catch (error) {
    const output = error instanceof Error && 'stdout' in error ? String(error.stdout) : ''
    throw new Error(`${script} ${args.join(' ')} failed:\n${output}`, { cause: error })
  }
}
