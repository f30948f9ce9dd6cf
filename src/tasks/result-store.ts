import { createHash } from 'node:crypto'
import { type StoredResult, storedResultSchema } from '../contract/task.ts'
import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import { toWireId } from '../contract/ids.ts'
import type { Logger } from '../platform/logger.ts'
import type { ObjectBody, ObjectStorage, StoredObject } from '../platform/object-storage.ts'
import {
  announceResult,
  deleteStoredResult,
  selectDisposable,
  selectStoredResult,
  type StoredResultRow,
} from './stored-results.sql.ts'

export interface ResultStoreOptions {
  readonly database: Database
  readonly storage: ObjectStorage
  readonly logger: Logger
  /** Bytes of JSON that a row still holds. @default 65_536 */
  readonly aboveBytes?: number
}

/** The attempt whose result it is. */
export interface ResultOf {
  readonly taskId: string
  readonly tenant: string
  readonly attempt: number
}

/** Keeps results in the object storage that are too large for a row. */
export interface ResultStore {
  /** What the row is to hold: the result itself, or where it is. A storage that is away costs the row its size, never the result. */
  keep(of: ResultOf, result: Record<string, unknown>): Promise<Record<string, unknown>>
  /** Stores a body of any size. */
  store(of: ResultOf, body: ObjectBody, mediaType: string): Promise<StoredResult>
  /** The stored result of a task; undefined when the row itself has it. */
  find(tenant: string, taskId: string): Promise<StoredResultRow | undefined>
  open(row: StoredResultRow): Promise<StoredObject>
  /** Deletes what retention has taken the tasks of, and leftovers. Returns how many. */
  dispose(retentionDays: number): Promise<number>
}

const defaultAboveBytes = 64 * 1024
const retryMs = [100, 400, 1_600]
const disposeChunk = 200
const disposeAtMost = 5_000

export function createResultStore(options: ResultStoreOptions): ResultStore {
  const { database, storage, logger, aboveBytes = defaultAboveBytes } = options

  const store = async (of: ResultOf, body: ObjectBody, mediaType: string): Promise<StoredResult> => {
    const key = `results/${of.tenant}/${of.taskId}/${of.attempt}`
    await database.transaction({ role: 'sluice_worker' }, (tx) => announceResult(tx, { ...of, key, mediaType }))
    const measured = measure(body)
    await storage.put(key, measured.body, { contentType: mediaType })
    return { $stored: { ...measured.result(), media_type: mediaType } }
  }

  return {
    store,
    keep: async (of, result) => {
      const text = JSON.stringify(result)
      if (Buffer.byteLength(text) <= aboveBytes || isStored(result)) return result
      for (let tries = 0; ; tries++) {
        try {
          return await store(of, text, 'application/json')
        } catch (error) {
          const delay = retryMs[tries]
          const taskId = toWireId('task', of.taskId)
          if (delay === undefined) {
            logger.warn('a large result could not be stored; its row holds it', { taskId, error })
            return result
          }
          await new Promise((resolve) => setTimeout(resolve, delay))
        }
      }
    },
    find: (tenant, taskId) => readAsTenant(database, tenant, (tx) => selectStoredResult(tx, taskId)),
    open: (row) => storage.get(row.object_key),
    dispose: async (retentionDays) => {
      for (let disposed = 0; ;) {
        const rows = await database.transaction({ role: 'sluice_worker' }, (tx) =>
          selectDisposable(tx, { retentionDays, limit: disposeChunk }),
        )
        for (const row of rows) {
          // The bytes first: a crash between the two leaves a row, which is found again.
          await storage.delete(row.object_key)
          await database.transaction({ role: 'sluice_worker' }, (tx) => deleteStoredResult(tx, row))
        }
        disposed += rows.length
        // The next round comes a minute later.
        if (rows.length === 0 || disposed >= disposeAtMost) return disposed
      }
    },
  }
}

/** Whether a result only says where it is. */
export function isStored(result: Record<string, unknown>): result is Record<string, unknown> & StoredResult {
  return storedResultSchema.safeParse(result).success
}

/** The body, and what it was once it has been read. */
function measure(body: ObjectBody): { body: AsyncIterable<Uint8Array>; result(): { bytes: number; sha256: string } } {
  const hash = createHash('sha256')
  let bytes = 0
  async function* read(): AsyncGenerator<Uint8Array> {
    const chunks = typeof body === 'string' ? [Buffer.from(body)] : body instanceof Uint8Array ? [body] : body
    for await (const chunk of chunks) {
      hash.update(chunk)
      bytes += chunk.byteLength
      yield chunk
    }
  }
  return { body: read(), result: () => ({ bytes, sha256: hash.digest('hex') }) }
}
