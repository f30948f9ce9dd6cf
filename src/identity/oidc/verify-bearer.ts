import { decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { FederatedPerson } from '../principal.ts'
import { createKeySource, type KeySourceOptions } from './key-source.ts'
import { algorithmsOf, type OidcSettings } from './oidc-settings.ts'
import { ProviderUnreachableError } from './provider.ts'
import { readClaims } from './read-claims.ts'

export interface VerifiedBearer {
  readonly person: FederatedPerson
  /** From then on it is refused: the skew is in it. */
  readonly expiresAt: Date
}

export interface BearerVerifierOptions extends KeySourceOptions {
  readonly settings: OidcSettings & { readonly audience: string }
}

/** Clocks differ; by no more than this. */
const skewSeconds = 30
const maxLength = 8_192
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]+$/
/** Headers that bring a key along, or ask for a treatment of their own. */
const refusedHeaders = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc']
/** RFC 9068, and what providers send that are older than it. Neither an ID token for somebody else nor a logout token. */
const acceptedTypes = [undefined, 'jwt', 'at+jwt', 'application/at+jwt']

/**
 * Checks JWTs of the provider: a pinned algorithm, one of its published keys, issuer, audience, the times, and a claim
 * that names a principal. Undefined for everything else. @throws ProviderUnreachableError
 */
export function createBearerVerifier(options: BearerVerifierOptions) {
  const { settings, provider, logger } = options
  const algorithms = algorithmsOf(settings)
  const keys = createKeySource(options)

  return async (token: string): Promise<VerifiedBearer | undefined> => {
    if (token.length > maxLength || !compactForm.test(token)) return undefined
    const refuse = (reason: string): undefined => {
      logger.debug('a JWT was refused', { reason })
      return undefined
    }
    try {
      const problem = headerProblem(token)
      if (problem !== undefined) return refuse(problem)
      const { issuer } = (await provider.configuration()).serverMetadata()
      const { payload } = await jwtVerify(token, keys, {
        algorithms,
        issuer,
        audience: settings.audience,
        clockTolerance: skewSeconds,
        requiredClaims: ['sub', 'exp', 'iat'],
      })
      // Bound to a key of its holder's, of which nobody showed a proof.
      if (payload['cnf'] !== undefined) return refuse('it is bound to a key')
      if ((payload.iat ?? 0) > Date.now() / 1_000 + skewSeconds) return refuse('it was made later')
      const read = readClaims(settings, payload)
      if ('problem' in read) return refuse(read.problem)
      return { person: read.person, expiresAt: new Date(((payload.exp ?? 0) + skewSeconds) * 1_000) }
    } catch (error) {
      if (error instanceof ProviderUnreachableError) throw error
      // Whatever cannot be verified is refused, also where the reason is a key of the provider's that cannot be used.
      return refuse(error instanceof errors.JOSEError ? error.code : String(error))
    }
  }
}

function headerProblem(token: string): string | undefined {
  let header: Record<string, unknown>
  try {
    header = { ...decodeProtectedHeader(token) }
  } catch {
    return 'its header cannot be read'
  }
  const refused = refusedHeaders.find((name) => name in header)
  if (refused !== undefined) return `its header has ${refused}`
  if (typeof header['kid'] !== 'string') return 'its header names no key'
  const { typ } = header
  if (typ !== undefined && typeof typ !== 'string') return 'its type is none'
  return acceptedTypes.includes(typ?.toLowerCase()) ? undefined : `its type is ${typ}`
}
