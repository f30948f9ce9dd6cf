import { createHmac, timingSafeEqual } from 'node:crypto'
import { type Clock, systemClock } from './clock.ts'
import { type ObjectStorage, ObjectNotFoundError } from './object-storage.ts'
import { InvalidArgumentError } from './platform-error.ts'

export interface UrlSigning {
  /** What stands before `/<key>`, without a trailing slash, as clients reach it. */
  readonly baseUrl: string
  /** Known to the process that signs and to the one that serves, and to nobody else. */
  readonly secret: string
}

interface Grant {
  readonly key: string
  readonly method: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}

/** A URL that `createSignedObjectHandler` honours until it expires. */
export function signObjectUrl({ baseUrl, secret }: UrlSigning, grant: Grant): string {
  const path = grant.key.split('/').map(encodeURIComponent).join('/')
  const query = new URLSearchParams({
    method: grant.method,
    expires: String(Math.ceil(grant.expiresAt / 1_000)),
    signature: signature(secret, grant),
  })
  return `${baseUrl}/${path}?${query}`
}

function signature(secret: string, { key, method, expiresAt }: Grant): string {
  return createHmac('sha256', secret)
    .update(JSON.stringify([method, key, Math.ceil(expiresAt / 1_000)]))
    .digest('base64url')
}

export interface SignedObjectHandlerOptions extends UrlSigning {
  readonly storage: ObjectStorage
  /** Most bytes that a signed PUT may bring. @default 1_073_741_824 (1 GiB) */
  readonly maxPutBytes?: number
  readonly clock?: Clock
}

/**
 * Serves presigned URLs of back ends that have no server of their own (filesystem, memory). Mount it under `baseUrl`.
 * Answers 403 for anything but a URL that was signed for this method and key and has not expired.
 */
export function createSignedObjectHandler(
  options: SignedObjectHandlerOptions,
): (request: Request) => Promise<Response> {
  const clock = options.clock ?? systemClock
  const basePath = new URL(options.baseUrl).pathname.replace(/\/$/, '')
  return async (request) => {
    const url = new URL(request.url)
    const key = keyOf(url, basePath)
    const expires = Number(url.searchParams.get('expires'))
    const method = request.method === 'HEAD' ? 'GET' : request.method
    if (key === undefined || !isGenuine(options.secret, { key, method, expiresAt: expires * 1_000 }, url)) {
      return new Response('This URL was not signed for this request', { status: 403 })
    }
    if (clock.now() >= expires * 1_000) return new Response('This URL has expired', { status: 403 })
    return method === 'PUT' ? store(options, key, request) : send(options.storage, key, request.method)
  }
}

function keyOf(url: URL, basePath: string): string | undefined {
  if (!url.pathname.startsWith(`${basePath}/`)) return undefined
  try {
    return url.pathname
      .slice(basePath.length + 1)
      .split('/')
      .map(decodeURIComponent)
      .join('/')
  } catch {
    return undefined
  }
}

function isGenuine(secret: string, grant: Grant, url: URL): boolean {
  const expected = Buffer.from(signature(secret, grant))
  const given = Buffer.from(url.searchParams.get('signature') ?? '')
  return expected.length === given.length && timingSafeEqual(expected, given)
}

async function send(storage: ObjectStorage, key: string, method: string): Promise<Response> {
  try {
    const { info, body } = await storage.get(key)
    const headers = {
      'content-type': info.contentType,
      'content-length': String(info.size),
      etag: `"${info.etag}"`,
      // What was uploaded must not run as a page of this origin.
      'x-content-type-options': 'nosniff',
      'content-security-policy': 'sandbox',
    }
    if (method !== 'HEAD') return new Response(body, { headers })
    await body.cancel()
    return new Response(null, { headers })
  } catch (error) {
    if (error instanceof ObjectNotFoundError) return new Response(error.message, { status: 404 })
    throw error
  }
}

async function store(options: SignedObjectHandlerOptions, key: string, request: Request): Promise<Response> {
  const limit = options.maxPutBytes ?? 1024 ** 3
  try {
    const contentType = request.headers.get('content-type') ?? 'application/octet-stream'
    await options.storage.put(key, limited(request.body, limit), { contentType })
    return new Response(null, { status: 200 })
  } catch (error) {
    if (error instanceof InvalidArgumentError) return new Response(error.message, { status: 413 })
    throw error
  }
}

async function* limited(body: ReadableStream<Uint8Array> | null, limit: number): AsyncGenerator<Uint8Array> {
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.byteLength
    if (size > limit) throw new InvalidArgumentError(`The body is larger than ${limit} bytes`)
    yield chunk
  }
}
