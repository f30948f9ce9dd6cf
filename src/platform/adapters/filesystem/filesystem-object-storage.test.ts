import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createFilesystemObjectStorage } from './filesystem-object-storage.ts'

describe('object storage: filesystem', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sluice-objects-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  const files = async () => {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  }

  test('replacing and deleting leave no bytes behind', async () => {
    const storage = createFilesystemObjectStorage({ directory })
    await storage.start()
    await storage.put('a', 'one')
    await storage.put('a', 'two')
    expect(await files()).toHaveLength(2)
    await storage.delete('a')
    expect(await files()).toEqual([])
  })

  test('a start removes what a crash cut short, once it is a day old, and nothing else', async () => {
    const storage = createFilesystemObjectStorage({ directory })
    await storage.start()
    await storage.put('kept', 'x')
    const kept = await files()
    const never = new Promise<never>(() => undefined)
    async function* stuck() {
      yield Buffer.from('half')
      await never
    }
    void storage.put('cut/short', stuck())
    await expect.poll(files).toHaveLength(3)
    await createFilesystemObjectStorage({ directory }).start()
    expect(await files()).toHaveLength(3)
    const dayBefore = new Date(Date.now() - 25 * 3_600_000)
    for (const path of await files()) await utimes(path, dayBefore, dayBefore)
    await createFilesystemObjectStorage({ directory }).start()
    expect((await files()).sort()).toEqual(kept.sort())
    await expect(storage.head('kept')).resolves.toMatchObject({ size: 1 })
  })

  test('a key of 1024 bytes is kept and listed', async () => {
    const storage = createFilesystemObjectStorage({ directory })
    await storage.start()
    const key = `${'ä'.repeat(300)}/${'x'.repeat(423)}`
    await storage.put(key, 'long')
    const page = await storage.list({ prefix: 'ää' })
    expect(page.objects.map((object) => object.key)).toEqual([key])
  })

  test('presigning needs to be told where and with what', async () => {
    const storage = createFilesystemObjectStorage({ directory })
    expect(storage.capabilities.presign).toBe(false)
    await expect(storage.presign('a', { method: 'GET', expiresInMs: 1_000 })).rejects.toMatchObject({
      code: 'not_supported',
    })
  })
})
