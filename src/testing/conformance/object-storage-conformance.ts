import assert from 'node:assert/strict'
import type { ObjectStorage } from '../../platform/object-storage.ts'
import { type ConformanceSuite, eventually, uniqueName } from './conformance-case.ts'

export interface ObjectStorageSubject {
  readonly objectStorage: ObjectStorage
  /** `false` when the server behind it is a test server that takes any signature. @default true */
  readonly checksSignatures?: boolean
}

const needsPresign = ({ objectStorage }: ObjectStorageSubject) =>
  objectStorage.capabilities.presign ? undefined : 'does not claim `presign`'

const needsSignatures = (subject: ObjectStorageSubject) =>
  needsPresign(subject) ??
  (subject.checksSignatures === false ? 'is tested on a server that takes any signature' : undefined)

async function readText(storage: ObjectStorage, key: string): Promise<string> {
  return new Response((await storage.get(key)).body).text()
}

async function listAll(storage: ObjectStorage, prefix: string, limit: number): Promise<string[]> {
  const keys: string[] = []
  let cursor: string | undefined
  do {
    const page = await storage.list({ prefix, limit, ...(cursor !== undefined && { cursor }) })
    assert.ok(page.objects.length <= limit)
    keys.push(...page.objects.map((object) => object.key))
    cursor = page.cursor
  } while (cursor !== undefined)
  return keys
}

/** What every `ObjectStorage` promises. */
export const objectStorageConformance: ConformanceSuite<ObjectStorageSubject> = [
  {
    name: 'gives back what was put: text, bytes, nothing at all, and a stream',
    run: async ({ objectStorage }) => {
      const key = uniqueName('body')
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
      await objectStorage.put(`${key}/text`, 'é\u2028')
      await objectStorage.put(`${key}/bytes`, bytes)
      await objectStorage.put(`${key}/empty`, '')
      await objectStorage.put(`${key}/stream`, new Blob(['a', 'b', 'c']).stream())
      assert.equal(await readText(objectStorage, `${key}/text`), 'é\u2028')
      const stored = new Response((await objectStorage.get(`${key}/bytes`)).body)
      assert.deepEqual(new Uint8Array(await stored.arrayBuffer()), bytes)
      assert.equal(await readText(objectStorage, `${key}/empty`), '')
      assert.equal(await readText(objectStorage, `${key}/stream`), 'abc')
    },
  },
  {
    name: 'says the same about an object in put, head and get',
    run: async ({ objectStorage }) => {
      const key = uniqueName('info')
      const options = { contentType: 'text/csv; charset=utf-8', metadata: { task: 'task_1', 'made-by': 'a, b; c=d' } }
      const put = await objectStorage.put(key, 'a;b', options)
      assert.equal(put.key, key)
      assert.equal(put.size, 3)
      assert.equal(put.contentType, options.contentType)
      assert.deepEqual(put.metadata, options.metadata)
      assert.ok(Math.abs(put.lastModified.getTime() - Date.now()) < 3_600_000)
      assert.deepEqual(await objectStorage.head(key), put)
      const { info, body } = await objectStorage.get(key)
      await body.cancel()
      assert.deepEqual(info, put)
      const plain = await objectStorage.put(uniqueName('plain'), '')
      assert.equal(plain.contentType, 'application/octet-stream')
      assert.deepEqual(plain.metadata, {})
    },
  },
  {
    name: 'knows no object that was never put or was deleted, and deletes it twice without complaint',
    run: async ({ objectStorage }) => {
      const key = uniqueName('gone')
      await objectStorage.delete(key)
      await objectStorage.put(key, 'x')
      await objectStorage.delete(key)
      await objectStorage.delete(key)
      assert.equal(await objectStorage.head(key), undefined)
      await assert.rejects(objectStorage.get(key), { code: 'object_not_found', key })
      assert.deepEqual(await listAll(objectStorage, key, 10), [])
    },
  },
  {
    name: 'replaces an object as a whole, with its metadata, and its etag tells',
    run: async ({ objectStorage }) => {
      const key = uniqueName('replaced')
      const before = await objectStorage.put(key, 'a longer text', { metadata: { a: '1' } })
      const reading = await objectStorage.get(key)
      const after = await objectStorage.put(key, 'short')
      assert.notEqual(after.etag, before.etag)
      assert.deepEqual(after.metadata, {})
      assert.equal(await readText(objectStorage, key), 'short')
      const old = await new Response(reading.body).text()
      assert.ok(['a longer text', 'short'].includes(old), `a reader saw a mixture: ${old}`)
    },
  },
  {
    name: 'streams bodies larger than one part',
    run: async ({ objectStorage }) => {
      const key = uniqueName('large')
      const chunk = Buffer.alloc(1024 * 1024)
      async function* chunks() {
        for (let n = 0; n < 12; n++) yield Buffer.from(chunk.fill(n))
      }
      const { size } = await objectStorage.put(key, chunks())
      assert.equal(size, 12 * chunk.length)
      let at = 0
      for await (const part of (await objectStorage.get(key)).body) {
        assert.equal(part[0], Math.floor(at / chunk.length))
        at += part.byteLength
      }
      assert.equal(at, size)
      await objectStorage.delete(key)
    },
  },
  {
    name: 'leaves what was there when the new body fails half-way, and throws what the body threw',
    run: async ({ objectStorage }) => {
      const key = uniqueName('broken')
      const fault = new Error('source broke')
      async function* broken() {
        yield Buffer.alloc(6 * 1024 * 1024)
        throw fault
      }
      await assert.rejects(objectStorage.put(key, broken()), (error) => error === fault)
      assert.equal(await objectStorage.head(key), undefined)
      await objectStorage.put(key, 'whole')
      await assert.rejects(objectStorage.put(key, broken()), (error) => error === fault)
      assert.equal(await readText(objectStorage, key), 'whole')
    },
  },
  {
    name: 'keeps keys of all kinds apart',
    run: async ({ objectStorage }) => {
      const base = uniqueName('keys')
      const keys = [
        'a',
        'a/b',
        'a/b/c',
        'a b',
        'a+b',
        'a%20b',
        'ä',
        '日本',
        'A',
        "q'(x)!~*",
        'a.d/b',
        'a.o',
        '.hidden',
        'x&y=z',
      ]
      for (const key of keys) await objectStorage.put(`${base}/${key}`, key)
      for (const key of keys) assert.equal(await readText(objectStorage, `${base}/${key}`), key)
      const listed = await listAll(objectStorage, `${base}/`, 1_000)
      assert.deepEqual([...listed].sort(), keys.map((key) => `${base}/${key}`).sort())
    },
  },
  {
    name: 'lists by prefix, page by page, in order, without repeating or leaving out',
    run: async ({ objectStorage }) => {
      const base = uniqueName('list')
      const keys = Array.from({ length: 12 }, (_, index) => `${base}/${String(index).padStart(2, '0')}`)
      for (const key of [...keys].reverse()) await objectStorage.put(key, 'x')
      await objectStorage.put(`${base}x`, 'outside')
      assert.deepEqual(await listAll(objectStorage, `${base}/`, 5), keys)
      assert.deepEqual(await listAll(objectStorage, `${base}/`, 12), keys)
      assert.deepEqual(await listAll(objectStorage, `${base}/1`, 1), keys.slice(10))
      const [first] = (await objectStorage.list({ prefix: `${base}/`, limit: 1 })).objects
      const { key, size, etag } = (await objectStorage.head(`${base}/00`)) ?? {}
      assert.deepEqual([first?.key, first?.size, first?.etag], [key, size, etag])
      assert.ok(first?.lastModified instanceof Date)
    },
  },
  {
    name: 'refuses keys, metadata and pages that some back end could not hold',
    run: async ({ objectStorage }) => {
      const refused = { code: 'invalid_argument' }
      for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/./b', 'a\u0000b', 'k'.repeat(1025), '\ud800']) {
        await assert.rejects(objectStorage.put(key, 'x'), refused, JSON.stringify(key))
        await assert.rejects(objectStorage.get(key), refused, JSON.stringify(key))
      }
      await assert.rejects(objectStorage.put('k', 'x', { metadata: { 'A b': 'x' } }), refused)
      await assert.rejects(objectStorage.put('k', 'x', { metadata: { a: 'ä' } }), refused)
      await assert.rejects(objectStorage.list({ limit: 0 }), refused)
      await assert.rejects(objectStorage.list({ limit: 1_001 }), refused)
    },
  },
  {
    name: 'presigns a URL for reading an object',
    unclaimed: needsPresign,
    run: async ({ objectStorage }) => {
      const key = `${uniqueName('signed')}/é &+%.txt`
      await objectStorage.put(key, 'for you', { contentType: 'text/plain' })
      const response = await fetch(await objectStorage.presign(key, { method: 'GET', expiresInMs: 60_000 }))
      assert.equal(response.status, 200)
      assert.equal(await response.text(), 'for you')
      assert.match(response.headers.get('content-type') ?? '', /^text\/plain/)
      const absent = await objectStorage.presign(uniqueName('absent'), { method: 'GET', expiresInMs: 60_000 })
      assert.equal((await fetch(absent)).status, 404)
    },
  },
  {
    name: 'presigns a URL for writing an object',
    unclaimed: needsPresign,
    run: async ({ objectStorage }) => {
      const key = uniqueName('upload')
      const url = await objectStorage.presign(key, { method: 'PUT', expiresInMs: 60_000 })
      const headers = { 'content-type': 'text/csv' }
      assert.equal((await fetch(url, { method: 'PUT', body: 'a;b', headers })).status, 200)
      assert.equal(await readText(objectStorage, key), 'a;b')
      assert.equal((await objectStorage.head(key))?.contentType, 'text/csv')
    },
  },
  {
    name: 'a presigned URL is for its object and method, and for no other',
    unclaimed: needsSignatures,
    run: async ({ objectStorage }) => {
      const key = uniqueName('mine')
      await objectStorage.put(key, 'for you')
      await objectStorage.put(`${key}2`, 'not for you')
      const url = await objectStorage.presign(key, { method: 'GET', expiresInMs: 60_000 })
      const other = new URL(url)
      other.pathname += '2'
      assert.equal((await fetch(other)).status, 403)
      assert.equal((await fetch(url, { method: 'PUT', body: 'overwritten' })).status, 403)
      assert.equal(await readText(objectStorage, key), 'for you')
      const upload = await objectStorage.presign(key, { method: 'PUT', expiresInMs: 60_000 })
      assert.equal((await fetch(upload)).status, 403)
    },
  },
  {
    name: 'a presigned URL ends',
    unclaimed: needsPresign,
    run: async ({ objectStorage }) => {
      const key = uniqueName('brief')
      await objectStorage.put(key, 'x')
      const url = await objectStorage.presign(key, { method: 'GET', expiresInMs: 1_000 })
      await eventually('it is refused', async () => (await fetch(url)).status === 403)
      const refused = { code: 'invalid_argument' }
      await assert.rejects(objectStorage.presign(key, { method: 'GET', expiresInMs: 0 }), refused)
      await assert.rejects(objectStorage.presign(key, { method: 'GET', expiresInMs: 8 * 86_400_000 }), refused)
    },
  },
]
