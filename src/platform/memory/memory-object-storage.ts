import { createHash, randomBytes } from 'node:crypto'
import { type Clock, systemClock } from '../clock.ts'
import { bodyChunks, compareKeys, listSettings, presignSeconds, putSettings, requireObjectKey } from '../object-key.ts'
import { type ObjectInfo, ObjectNotFoundError, type ObjectStorage } from '../object-storage.ts'
import { signObjectUrl } from '../signed-object-url.ts'

export interface MemoryObjectStorageOptions {
  readonly clock?: Clock
  /** Where presigned URLs point; serve it with `createSignedObjectHandler`. @default 'http://object-storage.invalid' */
  readonly baseUrl?: string
  /** @default random */
  readonly signingSecret?: string
}

/** Keeps copies of bytes; a body that fails half-way leaves what was there. */
export function createMemoryObjectStorage(options: MemoryObjectStorageOptions = {}): ObjectStorage {
  const clock = options.clock ?? systemClock
  const baseUrl = options.baseUrl ?? 'http://object-storage.invalid'
  const secret = options.signingSecret ?? randomBytes(32).toString('hex')
  const objects = new Map<string, { readonly info: ObjectInfo; readonly bytes: Buffer }>()
  return {
    capabilities: { presign: true },
    put: async (key, body, putOptions) => {
      requireObjectKey(key)
      const { contentType, metadata } = putSettings(putOptions)
      const chunks: Uint8Array[] = []
      for await (const chunk of bodyChunks(body)) chunks.push(Buffer.from(chunk))
      const bytes = Buffer.concat(chunks)
      const etag = createHash('sha256').update(bytes).digest('hex')
      const info = {
        key,
        size: bytes.length,
        contentType,
        etag,
        lastModified: new Date(clock.now()),
        metadata: { ...metadata },
      }
      objects.set(key, { info, bytes })
      return info
    },
    get: async (key) => {
      requireObjectKey(key)
      const object = objects.get(key)
      if (!object) throw new ObjectNotFoundError(key)
      return { info: object.info, body: new Blob([Buffer.from(object.bytes)]).stream() }
    },
    head: async (key) => {
      requireObjectKey(key)
      return objects.get(key)?.info
    },
    list: async (listOptions) => {
      const { prefix, limit, after } = listSettings(listOptions)
      const found = [...objects.values()]
        .map(({ info: { key, size, etag, lastModified } }) => ({ key, size, etag, lastModified }))
        .filter(({ key }) => key.startsWith(prefix) && compareKeys(key, after) > 0)
        .sort((a, b) => compareKeys(a.key, b.key))
      return { objects: found.slice(0, limit), cursor: found.length > limit ? found[limit - 1]?.key : undefined }
    },
    delete: async (key) => {
      requireObjectKey(key)
      objects.delete(key)
    },
    presign: async (key, presignOptions) => {
      requireObjectKey(key)
      const expiresAt = clock.now() + presignSeconds(presignOptions) * 1_000
      return signObjectUrl({ baseUrl, secret }, { key, method: presignOptions.method, expiresAt })
    },
  }
}
