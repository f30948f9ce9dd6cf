/** Text is stored as UTF-8. Streams are read once and never held in memory as a whole. */
export type ObjectBody = string | Uint8Array | AsyncIterable<Uint8Array>

export interface ObjectInfo {
  readonly key: string
  /** Bytes. */
  readonly size: number
  readonly contentType: string
  /** Changes whenever the content does. */
  readonly etag: string
  readonly lastModified: Date
  /** Lower-case names. */
  readonly metadata: Readonly<Record<string, string>>
}

export interface StoredObject {
  readonly info: ObjectInfo
  /** Read it to its end or cancel it: until then it holds a file or connection. */
  readonly body: ReadableStream<Uint8Array>
}

export interface PutOptions {
  /** @default 'application/octet-stream' */
  readonly contentType?: string
  /** Names of lower-case letters, digits and `-`; values of printable ASCII. @default {} */
  readonly metadata?: Readonly<Record<string, string>>
}

export interface ListOptions {
  /** @default '' */
  readonly prefix?: string
  /** Most objects on the page, at most 1_000. @default 1_000 */
  readonly limit?: number
  /** `cursor` of the page before. */
  readonly cursor?: string
}

export interface ObjectPage {
  /** In the order of their keys' UTF-8 bytes, without content type and metadata. */
  readonly objects: readonly Pick<ObjectInfo, 'key' | 'size' | 'etag' | 'lastModified'>[]
  /** Pass it for the next page. `undefined` on the last. */
  readonly cursor: string | undefined
}

export interface PresignOptions {
  readonly method: 'GET' | 'PUT'
  /** Milliseconds for which the URL works; whole seconds, rounded up. */
  readonly expiresInMs: number
}

export interface ObjectStorageCapabilities {
  readonly presign: boolean
}

/**
 * Large, named byte strings. A key is 1 to 1024 bytes of UTF-8 without control characters, not starting with `/`, and
 * without empty, `.` or `..` parts. A `put` shows as a whole or not at all; the last one to finish wins.
 */
export interface ObjectStorage {
  readonly capabilities: ObjectStorageCapabilities
  /** @throws ServiceUnavailableError, InvalidArgumentError, or what the body's stream throws */
  put(key: string, body: ObjectBody, options?: PutOptions): Promise<ObjectInfo>
  /** @throws ObjectNotFoundError, ServiceUnavailableError */
  get(key: string): Promise<StoredObject>
  /** `undefined` when there is no such object. @throws ServiceUnavailableError */
  head(key: string): Promise<ObjectInfo | undefined>
  /** @throws ServiceUnavailableError */
  list(options?: ListOptions): Promise<ObjectPage>
  /** Deleting what is not there is fine. @throws ServiceUnavailableError */
  delete(key: string): Promise<void>
  /** A URL that lets its holder read or write this one object. @throws NotSupportedError */
  presign(key: string, options: PresignOptions): Promise<string>
}

/** There is no object with this key. */
export class ObjectNotFoundError extends Error {
  readonly code = 'object_not_found'
  readonly key: string
  constructor(key: string) {
    super(`There is no object "${key}"`)
    this.name = 'ObjectNotFoundError'
    this.key = key
  }
}
