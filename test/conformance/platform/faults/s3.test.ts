import { describe, expect, test } from 'vitest'
import { createS3ObjectStorage } from '../../../../src/platform/adapters/s3/s3-object-storage.ts'
import { ServiceUnavailableError } from '../../../../src/platform/platform-error.ts'
import { s3Options, startS3 } from '../support/servers.ts'

describe('s3, killed and restarted in mid-work', () => {
  test('an upload cut short leaves what was there, errors are clear, and it works again afterwards', async () => {
    const server = await startS3()
    const storage = createS3ObjectStorage(s3Options(server))
    await storage.start()
    const read = async (key: string) => new Response((await storage.get(key)).body).text()
    try {
      await storage.put('result', 'before')
      async function* cutShort() {
        yield Buffer.alloc(6 * 1024 * 1024)
        await server.kill()
        yield Buffer.alloc(6 * 1024 * 1024)
      }
      await expect(storage.put('result', cutShort())).rejects.toThrow(ServiceUnavailableError)
      await expect(storage.get('result')).rejects.toMatchObject({ code: 'service_unavailable', service: 's3' })
      await expect(storage.head('result')).rejects.toThrow(ServiceUnavailableError)
      await expect(storage.list()).rejects.toThrow(ServiceUnavailableError)
      await expect(storage.delete('result')).rejects.toThrow(ServiceUnavailableError)
      await server.restart()
      await expect(read('result')).resolves.toBe('before')
      await storage.put('result', 'after')
      await expect(read('result')).resolves.toBe('after')
    } finally {
      await storage.stop()
      await server.stop()
    }
  }, 60_000)

  test('start says which bucket is missing, or that there is no server', async () => {
    const server = await startS3()
    const lost = createS3ObjectStorage({ ...s3Options(server), bucket: 'no-such-bucket' })
    await expect(lost.start()).rejects.toThrow('There is no bucket "no-such-bucket". Create it first')
    await server.stop()
    await expect(createS3ObjectStorage(s3Options(server)).start()).rejects.toThrow(ServiceUnavailableError)
  })
})
