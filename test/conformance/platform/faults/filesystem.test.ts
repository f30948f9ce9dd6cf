import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { createFilesystemObjectStorage } from '../../../../src/platform/adapters/filesystem/filesystem-object-storage.ts'

const program = fileURLToPath(new URL('../support/doomed-writer.ts', import.meta.url))
const size = 1024 * 1024
const kills = 6

test(
  'filesystem: a writer killed in mid-work leaves what it stored last, or the next, whole',
  { timeout: 120_000 },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), 'sluice-killed-writer-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const storage = createFilesystemObjectStorage({ directory })
    await storage.start()
    let stored = -1
    for (let kill = 0; kill < kills; kill++) {
      const writer = spawn(process.execPath, [program, directory, String(stored + 1), String(size)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const enough = stored + 2 + Math.floor(Math.random() * 10)
      for await (const line of createInterface(writer.stdout)) {
        stored = Number(line)
        // Somewhere in the next write.
        if (stored === enough) setTimeout(() => writer.kill('SIGKILL'), Math.random() * 20)
      }
      if (writer.signalCode === null) await once(writer, 'exit')
      expect(writer.signalCode).toBe('SIGKILL')

      const object = await storage.get('result')
      const text = await new Response(object.body).text()
      expect(object.info.size).toBe(size)
      const letter = text.charAt(0)
      expect(text === letter.repeat(size)).toBe(true)
      expect([stored % 10, (stored + 1) % 10]).toContain(Number(letter))
      expect((await storage.list()).objects).toMatchObject([{ key: 'result', size }])
    }
    await storage.put('result', 'after')
    expect((await storage.head('result'))?.size).toBe(5)
  },
)
