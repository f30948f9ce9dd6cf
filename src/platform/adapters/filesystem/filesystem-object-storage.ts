import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { z } from 'zod'
import { type Clock, systemClock } from '../../clock.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import {
  bodyChunks,
  compareKeys,
  listSettings,
  presignSeconds,
  putSettings,
  requireObjectKey,
} from '../../object-key.ts'
import { type ObjectBody, type ObjectInfo, ObjectNotFoundError, type ObjectStorage } from '../../object-storage.ts'
import { NotSupportedError } from '../../platform-error.ts'
import { signObjectUrl, type UrlSigning } from '../../signed-object-url.ts'
import { folderOfPrefix, keyOfPath, pathOfKey } from './object-path.ts'

export interface FilesystemObjectStorageOptions {
  /** Made if it is missing. Several processes may share it. */
  readonly directory: string
  /** Makes `presign` work; serve the URLs with `createSignedObjectHandler`. */
  readonly signing?: UrlSigning
  readonly clock?: Clock
}

/** What is stored beside the bytes. Moving this file into place is what makes a put visible, as a whole. */
const recordSchema = z.object({
  data: z.uuid(),
  size: z.number(),
  contentType: z.string(),
  etag: z.string(),
  lastModified: z.iso.datetime(),
  metadata: z.record(z.string(), z.string()),
})
type ObjectRecord = z.infer<typeof recordSchema>

/** An unfinished upload older than this was cut short by a crash. */
const abandonedMs = 24 * 3_600_000

/** Objects in a folder. Bytes reach the disk before an object shows; listing reads the whole prefix from disk. */
export function createFilesystemObjectStorage(options: FilesystemObjectStorageOptions): ObjectStorage & Lifecycle {
  const { directory, signing, clock = systemClock } = options
  const keys = join(directory, 'keys')
  const recordPath = (key: string) => {
    requireObjectKey(key)
    return join(keys, pathOfKey(key))
  }
  const dataPath = (id: string) => join(directory, 'data', id.slice(0, 2), id)

  return {
    capabilities: { presign: signing !== undefined },
    put: async (key, body, putOptions) => {
      const path = recordPath(key)
      const { contentType, metadata } = putSettings(putOptions)
      const id = randomUUID()
      try {
        const { size, etag } = await writeDurably(dataPath(id), body)
        const lastModified = new Date(clock.now()).toISOString()
        const record: ObjectRecord = { data: id, size, contentType, etag, lastModified, metadata: { ...metadata } }
        const replaced = await replaceRecord(path, record)
        if (replaced) await rm(dataPath(replaced.data), { force: true })
        return toInfo(key, record)
      } catch (error) {
        await rm(dataPath(id), { force: true })
        throw error
      }
    },
    get: async (key) => {
      const path = recordPath(key)
      let missing: string | undefined
      for (;;) {
        const record = await readRecord(path)
        if (!record) throw new ObjectNotFoundError(key)
        const file = await open(dataPath(record.data)).catch(undefinedWhenAbsent)
        if (!file) {
          // Replaced between the two reads: what is there now is the answer. Not replaced: somebody deleted the bytes.
          if (missing === record.data) throw new Error(`The bytes of the object "${key}" are missing in ${directory}`)
          missing = record.data
          continue
        }
        // Node's type of a web stream and the platform's differ in name only.
        const body = Readable.toWeb(createReadStream('', { fd: file })) as ReadableStream<Uint8Array>
        return { info: toInfo(key, record), body }
      }
    },
    head: async (key) => {
      const record = await readRecord(recordPath(key))
      return record && toInfo(key, record)
    },
    list: async (listOptions) => {
      const { prefix, limit, after } = listSettings(listOptions)
      const found = (await keysUnder(keys, folderOfPrefix(prefix)))
        .filter((key) => key.startsWith(prefix) && compareKeys(key, after) > 0)
        .sort(compareKeys)
      const objects: Pick<ObjectInfo, 'key' | 'size' | 'etag' | 'lastModified'>[] = []
      let last: string | undefined
      for (const key of found.slice(0, limit)) {
        last = key
        const record = await readRecord(recordPath(key))
        if (!record) continue
        const { size, etag, lastModified } = toInfo(key, record)
        objects.push({ key, size, etag, lastModified })
      }
      return { objects, cursor: found.length > limit ? last : undefined }
    },
    delete: async (key) => {
      const path = recordPath(key)
      const record = await readRecord(path)
      if (!record) return
      await rm(path, { force: true })
      await rm(dataPath(record.data), { force: true })
    },
    presign: async (key, presignOptions) => {
      requireObjectKey(key)
      if (!signing) throw new NotSupportedError('Presigned URLs need `signing`: the address and secret of their server')
      const expiresAt = clock.now() + presignSeconds(presignOptions) * 1_000
      return signObjectUrl(signing, { key, method: presignOptions.method, expiresAt })
    },
    start: async () => {
      await mkdir(keys, { recursive: true })
      await removeAbandoned(directory, clock.now())
    },
    stop: async () => {},
  }
}

function toInfo(key: string, record: ObjectRecord): ObjectInfo {
  const { size, contentType, etag, metadata } = record
  return { key, size, contentType, etag, lastModified: new Date(record.lastModified), metadata }
}

async function writeDurably(path: string, body: ObjectBody): Promise<{ size: number; etag: string }> {
  await mkdir(dirname(path), { recursive: true })
  const hash = createHash('sha256')
  let size = 0
  await withFile(path, async (file) => {
    for await (const chunk of bodyChunks(body)) {
      hash.update(chunk)
      size += chunk.byteLength
      await file.writeFile(chunk)
    }
    await file.sync()
  })
  return { size, etag: hash.digest('hex') }
}

/** Puts the record in place and returns the one that was there. */
async function replaceRecord(path: string, record: ObjectRecord): Promise<ObjectRecord | undefined> {
  await mkdir(dirname(path), { recursive: true })
  const unfinished = `${path}.${record.data}.tmp`
  await withFile(unfinished, async (file) => {
    await file.writeFile(JSON.stringify(record))
    await file.sync()
  })
  const before = await readRecord(path)
  await rename(unfinished, path)
  return before
}

async function withFile(path: string, use: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await use(file)
  } finally {
    await file.close()
  }
}

async function readRecord(path: string): Promise<ObjectRecord | undefined> {
  const text = await readFile(path, 'utf8').catch(undefinedWhenAbsent)
  return text === undefined ? undefined : recordSchema.parse(JSON.parse(text))
}

async function keysUnder(root: string, folder: string): Promise<string[]> {
  const paths = (await readdir(join(root, folder), { recursive: true }).catch(undefinedWhenAbsent)) ?? []
  return paths.map((path) => keyOfPath(join(folder, path))).filter((key) => key !== undefined)
}

// Uploads that a crash cut short left bytes that no record names, and records that were never put in place.
async function removeAbandoned(directory: string, now: number): Promise<void> {
  const used = new Set<string>()
  const keys = join(directory, 'keys')
  for (const path of await readdir(keys, { recursive: true })) {
    if (path.endsWith('.tmp')) await removeWhenOld(join(keys, path), now)
    else if (path.endsWith('.o')) used.add((await readRecord(join(keys, path)))?.data ?? '')
  }
  const data = join(directory, 'data')
  for (const path of (await readdir(data, { recursive: true }).catch(undefinedWhenAbsent)) ?? []) {
    const id = path.slice(3)
    if (id !== '' && !used.has(id)) await removeWhenOld(join(data, path), now)
  }
}

async function removeWhenOld(path: string, now: number): Promise<void> {
  const info = await stat(path).catch(undefinedWhenAbsent)
  if (info && now - info.mtimeMs > abandonedMs) await rm(path, { force: true })
}

function undefinedWhenAbsent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
    return undefined
  throw error
}
