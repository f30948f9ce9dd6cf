import { describe, expect, test } from 'vitest'
import { createManualClock } from './clock.ts'
import { createMemoryObjectStorage } from './memory/memory-object-storage.ts'
import { createSignedObjectHandler } from './signed-object-url.ts'

describe('object storage: the server of presigned URLs', () => {
  const baseUrl = 'https://sluice.example/files'
  const signing = { baseUrl, secret: 'a secret of the test' }

  async function setUp() {
    const clock = createManualClock()
    const storage = createMemoryObjectStorage({ clock, baseUrl, signingSecret: signing.secret })
    const handle = createSignedObjectHandler({ ...signing, storage, clock, maxPutBytes: 10 })
    await storage.put('a/b', '<script>', { contentType: 'text/html' })
    const url = (method: 'GET' | 'PUT') => storage.presign('a/b', { method, expiresInMs: 60_000 })
    return { clock, storage, handle, url }
  }

  test('refuses every change to the URL', async () => {
    const { handle, url } = await setUp()
    const signed = new URL(await url('GET'))
    for (const change of [
      (copy: URL) => copy.searchParams.set('expires', '9999999999'),
      (copy: URL) => copy.searchParams.set('method', 'PUT'),
      (copy: URL) => copy.searchParams.set('signature', ''),
      (copy: URL) => copy.searchParams.delete('signature'),
      (copy: URL) => (copy.pathname = '/files/a/c'),
      (copy: URL) => (copy.pathname = '/elsewhere/a/b'),
      (copy: URL) => (copy.pathname = '/files/%zz'),
    ]) {
      const copy = new URL(signed)
      change(copy)
      const response = await handle(new Request(copy))
      // `method` in the URL is for people to read: what counts is the request's.
      expect(response.status, copy.href).toBe(copy.searchParams.get('method') === 'PUT' ? 200 : 403)
    }
  })

  test('ends when it said it would', async () => {
    const { clock, handle, url } = await setUp()
    const request = new Request(await url('GET'))
    await clock.advance(59_999)
    expect((await handle(request)).status).toBe(200)
    await clock.advance(1)
    expect((await handle(request)).status).toBe(403)
  })

  test('serves uploads so that they cannot act as a page of this origin', async () => {
    const { handle, url } = await setUp()
    const { headers } = await handle(new Request(await url('GET')))
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toBe('sandbox')
  })

  test('answers HEAD without a body', async () => {
    const { handle, url } = await setUp()
    const response = await handle(new Request(await url('GET'), { method: 'HEAD' }))
    expect(response.headers.get('content-length')).toBe('8')
    expect(await response.text()).toBe('')
  })

  test('takes no more bytes than allowed, and keeps what was there', async () => {
    const { handle, storage, url } = await setUp()
    const response = await handle(new Request(await url('PUT'), { method: 'PUT', body: 'eleven byte' }))
    expect(response.status).toBe(413)
    await expect(storage.head('a/b')).resolves.toMatchObject({ size: 8 })
  })
})
