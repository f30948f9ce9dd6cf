/** How an OpenID Connect provider lets people and programs in. */
export interface OidcSettings {
  /** Its issuer identifier, as its discovery document says it. https, or http on this machine. */
  readonly issuer: string
  /** Lets people sign in to the console. Without it they come by one-time links only. */
  readonly client?: { readonly id: string; readonly secret?: string }
  /** What is asked for at the console's login. @default 'openid profile email' */
  readonly scopes?: string
  /** What a JWT must have been made for to be let in by the API. Without it no JWT is. */
  readonly audience?: string
  /** Signatures that are believed; never a symmetric one. @default RS256, PS256, ES256, EdDSA */
  readonly algorithms?: readonly string[]
  /** The claim that is the principal's name. Everybody's must be their own, for ever. @default 'sub' */
  readonly principalClaim?: string
  /** Stands before that name, so that nobody from the provider is taken for a principal of another origin. @default '' */
  readonly principalPrefix?: string
  /** The claim that lists the principal's groups. @default 'groups' */
  readonly groupsClaim?: string
  /** The claim that says in which tenants the principal may act: bindings in others count for nothing. @default none */
  readonly tenantClaim?: string
}

/** What a signature may be made with. Symmetric ones (HS256) are not among them: a public key would be the secret. */
export const asymmetricAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

const defaultAlgorithms: readonly string[] = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519']

export function algorithmsOf({ algorithms = defaultAlgorithms }: OidcSettings): string[] {
  const symmetric = algorithms.find((algorithm) => !asymmetricAlgorithms.some((known) => known === algorithm))
  if (symmetric !== undefined)
    throw new Error(`${symmetric} is no signature that an identity provider may be trusted by`)
  return [...algorithms]
}
