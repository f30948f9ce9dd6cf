import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FolderLockedError, lockFolder } from './folder-lock.ts'
import { identifyProcess } from './process-identity.ts'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-lock-'))
  path = join(folder, 'the.lock')
})
afterEach(() => rm(folder, { recursive: true }))

describe('a folder lock', () => {
  test('has one holder, and is free after its release', async () => {
    const lock = await lockFolder(path)
    await expect(lockFolder(path)).rejects.toThrow(new FolderLockedError(path, process.pid))
    await lock.release()
    await lock.release()
    await (await lockFolder(path)).release()
    expect(await readdir(folder)).toEqual([])
  })

  test('of a killed process is taken over', async () => {
    const script = `import { lockFolder } from ${JSON.stringify(new URL('./folder-lock.ts', import.meta.url).href)}
      await lockFolder(${JSON.stringify(path)})
      console.log('locked')
      setInterval(() => undefined, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    await expect(lockFolder(path)).rejects.toMatchObject({ code: 'folder_locked', pid: child.pid })
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await lockFolder(path)).release()
  })

  test('of a dead process whose number lives on in another one is taken over', async () => {
    await writeFile(path, JSON.stringify({ pid: process.pid, identity: 'another boot 1' }))
    await (await lockFolder(path)).release()
  })

  test('that its holder died writing is taken over', async () => {
    await writeFile(path, '')
    await (await lockFolder(path)).release()
  })

  test('goes to exactly one of many that find it stale', async () => {
    await writeFile(path, JSON.stringify({ pid: process.pid, identity: 'another boot 1' }))
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(path)))
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ identity: identifyProcess(process.pid) })
    expect(await readdir(folder)).toEqual(['the.lock'])
  })

  test('that somebody else took over meanwhile is not given back', async () => {
    const lock = await lockFolder(path)
    await writeFile(path, 'somebody else')
    await lock.release()
    expect(await readFile(path, 'utf8')).toBe('somebody else')
  })
})
