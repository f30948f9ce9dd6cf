import { InvalidArgumentError, requireDuration } from './platform-error.ts'
import type { ListOptions, ObjectBody, PresignOptions, PutOptions } from './object-storage.ts'

// Control characters cannot stand in the XML of an S3 listing.
// oxlint-disable-next-line no-control-regex
const controlCharacter = /[\u0000-\u001f\u007f]/

/** Refuses keys that some back end could not hold or would take for another. */
export function requireObjectKey(key: string): void {
  const reason = faultOfKey(key)
  if (reason) throw new InvalidArgumentError(`The object key ${JSON.stringify(key)} ${reason}`)
}

function faultOfKey(key: string): string | undefined {
  const length = Buffer.byteLength(key)
  if (length === 0 || length > 1024) return `has ${length} bytes: use 1 to 1024`
  if (controlCharacter.test(key)) return 'has a control character'
  if (!key.isWellFormed()) return 'is not well-formed Unicode'
  const parts = key.split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    return 'has an empty, "." or ".." part'
  }
  return undefined
}

/** Fills in the defaults of `put` and checks what every back end must be able to hold. */
export function putSettings(options: PutOptions = {}): Required<PutOptions> {
  const metadata = options.metadata ?? {}
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9-]+$/.test(name)) {
      throw new InvalidArgumentError(`The metadata name "${name}" has other characters than a-z, 0-9 and "-"`)
    }
    if (!/^[\x20-\x7e]*$/.test(value)) throw new InvalidArgumentError(`The metadata "${name}" is not printable ASCII`)
  }
  return { contentType: options.contentType ?? 'application/octet-stream', metadata }
}

/** @throws InvalidArgumentError */
export function listSettings(options: ListOptions = {}): { prefix: string; limit: number; after: string } {
  const limit = options.limit ?? 1_000
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) {
    throw new InvalidArgumentError(`The limit of a listing is ${limit}: use 1 to 1000`)
  }
  return { prefix: options.prefix ?? '', limit, after: options.cursor ?? '' }
}

/** Whole seconds of validity. @throws InvalidArgumentError */
export function presignSeconds(options: PresignOptions): number {
  requireDuration('expiresInMs', options.expiresInMs)
  const seconds = Math.ceil(options.expiresInMs / 1_000)
  if (seconds > 604_800) throw new InvalidArgumentError('A presigned URL is valid for at most 7 days')
  return seconds
}

/** Order of a listing: by UTF-8 bytes, as S3 does it. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** The chunks of a body, whatever form it has. */
export async function* bodyChunks(body: ObjectBody): AsyncGenerator<Uint8Array> {
  if (typeof body === 'string') yield Buffer.from(body)
  else if (body instanceof Uint8Array) yield body
  else yield* body
}
