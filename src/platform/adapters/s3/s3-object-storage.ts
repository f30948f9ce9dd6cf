import type { S3Client } from '@aws-sdk/client-s3'
import type { Lifecycle } from '../../lifecycle.ts'
import { bodyChunks, listSettings, presignSeconds, putSettings, requireObjectKey } from '../../object-key.ts'
import { type ObjectInfo, ObjectNotFoundError, type ObjectStorage } from '../../object-storage.ts'
import { ServiceNotRunningError, ServiceUnavailableError } from '../../platform-error.ts'
import { loadLibrary } from '../../load-library.ts'

export interface S3ObjectStorageOptions {
  readonly bucket: string
  /** Put before every key, without a trailing slash. None by default. */
  readonly keyPrefix?: string
  /** @default 'us-east-1' */
  readonly region?: string
  /** For servers other than Amazon's. Their buckets are addressed by path, not by host name. */
  readonly endpoint?: string
  /** @default the SDK's own search: variables, profile, role of the machine */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
  /** Milliseconds for a connection and between two signs of life. @default 5_000 */
  readonly timeoutMs?: number
}

/** Objects in a bucket of Amazon S3 or a server that speaks its protocol. The bucket must exist. */
export function createS3ObjectStorage(options: S3ObjectStorageOptions): ObjectStorage & Lifecycle {
  const { bucket: Bucket } = options
  const prefix = options.keyPrefix === undefined ? '' : `${options.keyPrefix}/`
  let running: Running | undefined

  const s3 = (): Running => {
    if (!running) throw new ServiceNotRunningError('The object storage is not running: call start() first')
    return running
  }
  const target = (key: string) => {
    requireObjectKey(key)
    return { Bucket, Key: prefix + key }
  }
  const head = async (key: string): Promise<ObjectInfo | undefined> => {
    const { client, sdk } = s3()
    const command = new sdk.HeadObjectCommand(target(key))
    try {
      return toInfo(key, await client.send(command))
    } catch (error) {
      if (statusOf(error) === 404) return undefined
      throw fromS3Error(error)
    }
  }

  return {
    capabilities: { presign: true },
    head,
    put: async (key, body, putOptions) => {
      const { client, upload } = s3()
      const { contentType: ContentType, metadata } = putSettings(putOptions)
      const params = { ...target(key), ContentType, Metadata: { ...metadata } }
      let fault: unknown
      const source = faultsTo(bodyChunks(body), (error) => (fault = error))
      try {
        await upload(client, { ...params, Body: source })
      } catch (error) {
        // The SDK may wrap what the caller's own stream threw.
        throw fault ?? fromS3Error(error)
      }
      const info = await head(key)
      if (!info) throw new ServiceUnavailableError('s3', `The object "${key}" was stored and is gone again`)
      return info
    },
    get: async (key) => {
      const { client, sdk } = s3()
      const command = new sdk.GetObjectCommand(target(key))
      try {
        const output = await client.send(command)
        if (!output.Body) throw new ServiceUnavailableError('s3', `The object "${key}" came without a body`)
        // The SDK's type of its stream says nothing about the chunks, which are bytes.
        const body = output.Body.transformToWebStream() as ReadableStream<Uint8Array>
        return { info: toInfo(key, output), body }
      } catch (error) {
        if (statusOf(error) === 404) throw new ObjectNotFoundError(key)
        throw fromS3Error(error)
      }
    },
    list: async (listOptions) => {
      const { client, sdk } = s3()
      const { prefix: wanted, limit, after } = listSettings(listOptions)
      const StartAfter = after === '' ? undefined : prefix + after
      try {
        const page = await client.send(
          new sdk.ListObjectsV2Command({ Bucket, Prefix: prefix + wanted, MaxKeys: limit, StartAfter }),
        )
        const objects = (page.Contents ?? []).map((item) => {
          const { size, etag, lastModified } = toInfo('', { ...item, ContentLength: item.Size })
          return { key: (item.Key ?? '').slice(prefix.length), size, etag, lastModified }
        })
        return { objects, cursor: page.IsTruncated ? objects.at(-1)?.key : undefined }
      } catch (error) {
        throw fromS3Error(error)
      }
    },
    delete: async (key) => {
      const { client, sdk } = s3()
      await client.send(new sdk.DeleteObjectCommand(target(key))).catch((error: unknown) => {
        if (statusOf(error) !== 404) throw fromS3Error(error)
      })
    },
    presign: async (key, presignOptions) => {
      const { client, sdk, getSignedUrl } = s3()
      const expiresIn = presignSeconds(presignOptions)
      const command =
        presignOptions.method === 'GET' ? new sdk.GetObjectCommand(target(key)) : new sdk.PutObjectCommand(target(key))
      return getSignedUrl(client, command, { expiresIn })
    },
    start: async () => {
      if (running) return
      const started = await load(options)
      try {
        await started.client.send(new started.sdk.HeadBucketCommand({ Bucket }))
      } catch (error) {
        started.client.destroy()
        if (statusOf(error) === 404)
          throw new Error(`There is no bucket "${Bucket}". Create it first`, { cause: error })
        throw fromS3Error(error)
      }
      running = started
    },
    stop: async () => {
      running?.client.destroy()
      running = undefined
    },
  }
}

interface Running {
  readonly client: S3Client
  readonly sdk: typeof import('@aws-sdk/client-s3')
  readonly getSignedUrl: typeof import('@aws-sdk/s3-request-presigner').getSignedUrl
  readonly upload: (client: S3Client, params: UploadParams) => Promise<unknown>
}

interface UploadParams {
  readonly Bucket: string
  readonly Key: string
  readonly Body: AsyncIterable<Uint8Array>
  readonly ContentType: string
  readonly Metadata: Record<string, string>
}

async function load(options: S3ObjectStorageOptions): Promise<Running> {
  const { timeoutMs = 5_000, endpoint, credentials, region = 'us-east-1' } = options
  const sdk = await loadLibrary('@aws-sdk/client-s3', 's3', () => import('@aws-sdk/client-s3'))
  const { Upload } = await loadLibrary('@aws-sdk/lib-storage', 's3', () => import('@aws-sdk/lib-storage'))
  const presigner = '@aws-sdk/s3-request-presigner'
  const { getSignedUrl } = await loadLibrary(presigner, 's3', () => import('@aws-sdk/s3-request-presigner'))
  const { Readable } = await import('node:stream')
  const client = new sdk.S3Client({
    region,
    ...(endpoint !== undefined && { endpoint, forcePathStyle: true }),
    ...(credentials && { credentials }),
    requestHandler: { connectionTimeout: timeoutMs, requestTimeout: timeoutMs, throwOnRequestTimeout: true },
    // Checksums in trailers are Amazon's own; other servers store them as part of the object.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  return {
    client,
    sdk,
    getSignedUrl,
    // In parts, since a stream's length is not known beforehand; a body under 5 MiB goes in one request.
    upload: (s3, params) => {
      const Body = Readable.from(params.Body, { objectMode: false })
      return new Upload({ client: s3, params: { ...params, Body } }).done()
    },
  }
}

interface HeadFields {
  readonly ContentLength?: number | undefined
  readonly ContentType?: string | undefined
  readonly ETag?: string | undefined
  readonly LastModified?: Date | undefined
  readonly Metadata?: Record<string, string> | undefined
}

function toInfo(key: string, fields: HeadFields): ObjectInfo {
  return {
    key,
    size: fields.ContentLength ?? 0,
    contentType: fields.ContentType ?? 'application/octet-stream',
    etag: (fields.ETag ?? '').replaceAll('"', ''),
    lastModified: fields.LastModified ?? new Date(0),
    metadata: { ...fields.Metadata },
  }
}

async function* faultsTo(
  chunks: AsyncIterable<Uint8Array>,
  tell: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks
  } catch (error) {
    tell(error)
    throw error
  }
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined
  const metadata = error.$metadata
  const status = typeof metadata === 'object' && metadata && 'httpStatusCode' in metadata ? metadata.httpStatusCode : 0
  return typeof status === 'number' ? status : undefined
}

// Refused (400, 403) is the caller's or operator's to mend; everything else is the server being away.
function fromS3Error(error: unknown): unknown {
  const status = statusOf(error)
  if (error instanceof ServiceUnavailableError || (status !== undefined && status >= 400 && status < 500)) return error
  return new ServiceUnavailableError('s3', `The object storage did not answer (${String(error)})`, { cause: error })
}
