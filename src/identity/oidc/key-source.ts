import { createRemoteJWKSet, errors, type JSONWebKeySet, jwksCache, type JWTVerifyGetKey } from 'jose'
import type { Cache } from '../../platform/cache.ts'
import type { Logger } from '../../platform/logger.ts'
import { type Provider, ProviderUnreachableError } from './provider.ts'

export interface KeySourceOptions {
  readonly provider: Provider
  /** Keeps the keys for processes that start later. Whoever may write to it may say whose tokens are good. */
  readonly cache: Cache
  readonly logger: Logger
  /** Milliseconds after the keys were read before an unknown key has them read again. @default 30_000 */
  readonly cooldownMs?: number
}

interface RemoteKeys {
  readonly find: JWTVerifyGetKey
  readonly isFresh: () => boolean
}

/** What jose keeps up to date: the keys, and when they were read (milliseconds since 1970). */
interface KeptKeys {
  uat?: number
  jwks?: JSONWebKeySet
}

const failedMs = 5_000
const keptMs = 600_000

/** The provider's published keys. One that is unknown has them read once more, and then not for a while. */
export function createKeySource(options: KeySourceOptions): JWTVerifyGetKey {
  const { provider } = options
  let source: { readonly uri: string; readonly keys: Promise<RemoteKeys> } | undefined
  let failed: { readonly error: ProviderUnreachableError; readonly until: number } | undefined
  return async (header, token) => {
    const { jwks_uri: uri } = (await provider.configuration()).serverMetadata()
    if (uri === undefined) throw new ProviderUnreachableError('The identity provider publishes no keys.')
    if (source?.uri !== uri) source = { uri, keys: openKeys(options, uri) }
    const keys = await source.keys
    // A provider that is away is asked once in a while, however many tokens come.
    if (failed && performance.now() < failed.until && !keys.isFresh()) throw failed.error
    try {
      return await keys.find(header, token)
    } catch (error) {
      // What says something about the token, and not about the provider.
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error
      if (error instanceof errors.JOSENotSupported || error instanceof errors.JWKInvalid) throw error
      const unreachable = new ProviderUnreachableError('The keys of the identity provider cannot be read.', {
        cause: error,
      })
      failed = { error: unreachable, until: performance.now() + failedMs }
      throw unreachable
    }
  }
}

/** Begins with the keys that another process read, and keeps those that this one reads. */
async function openKeys({ cache, logger, cooldownMs = 30_000 }: KeySourceOptions, uri: string): Promise<RemoteKeys> {
  const key = `jwks:${uri}`
  const kept = await cache.get<KeptKeys>(key).catch((error: unknown) => {
    logger.debug('the keys of the identity provider are not in the cache', { error })
    return undefined
  })
  // A date to come would keep them good for longer than they are.
  const known: KeptKeys = kept?.jwks && (kept.uat ?? Infinity) <= Date.now() ? kept : {}
  const remote = createRemoteJWKSet(new URL(uri), {
    cooldownDuration: cooldownMs,
    cacheMaxAge: keptMs,
    // An empty one is filled in.
    [jwksCache]: known as Required<KeptKeys>,
  })
  let keptAt = known.uat
  const keep = (): void => {
    if (known.uat === keptAt) return
    keptAt = known.uat
    cache.set(key, known, { ttlMs: keptMs }).catch((error: unknown) => {
      logger.debug('the keys of the identity provider could not be kept', { error })
    })
  }
  return { find: (header, token) => remote(header, token).finally(keep), isFresh: () => remote.fresh }
}
