import { asymmetricAlgorithms, type OidcSettings } from '../identity/oidc/oidc-settings.ts'
import { UsageError } from './usage-error.ts'

export interface OidcFlags {
  readonly oidcIssuer?: string
  readonly oidcClientId?: string
  readonly oidcAudience?: string
  readonly publicUrl?: string
}

export interface OidcOptions {
  readonly oidc?: OidcSettings
  /** Without a trailing slash. */
  readonly publicUrl?: string
}

/** The identity provider, from flags and variables. Its secret comes from a variable only: flags are seen by everybody. */
export function parseOidcOptions(flags: OidcFlags, env: NodeJS.ProcessEnv, loopback: boolean): OidcOptions {
  const publicUrl = parsePublicUrl(flags.publicUrl ?? env['SLUICE_PUBLIC_URL'])
  const issuer = filled(flags.oidcIssuer ?? env['SLUICE_OIDC_ISSUER'])
  const clientId = filled(flags.oidcClientId ?? env['SLUICE_OIDC_CLIENT_ID'])
  const audience = filled(flags.oidcAudience ?? env['SLUICE_OIDC_AUDIENCE'])
  const found = publicUrl === undefined ? {} : { publicUrl }
  if (issuer === undefined) {
    const lost = clientId === undefined ? audience && '--oidc-audience' : '--oidc-client-id'
    if (lost !== undefined) throw new UsageError(`${lost} belongs to an identity provider: name it with --oidc-issuer.`)
    return found
  }
  if (clientId === undefined && audience === undefined) {
    throw new UsageError(
      '--oidc-issuer needs --oidc-client-id (people sign in to the console), --oidc-audience (JWTs are let in by the API), or both.',
    )
  }
  if (clientId !== undefined && publicUrl === undefined && !loopback) {
    throw new UsageError('--oidc-client-id needs --public-url: the identity provider sends browsers back there.')
  }
  const secret = filled(env['SLUICE_OIDC_CLIENT_SECRET'])
  return {
    ...found,
    oidc: {
      issuer: parseIssuer(issuer),
      ...clientOf(clientId, secret),
      ...mapping(env),
      ...(audience !== undefined && { audience }),
    },
  }
}

const clientOf = (id: string | undefined, secret: string | undefined): Pick<OidcSettings, 'client'> =>
  id === undefined ? {} : { client: { id, ...(secret !== undefined && { secret }) } }

function mapping(env: NodeJS.ProcessEnv): Partial<OidcSettings> {
  const texts = {
    scopes: filled(env['SLUICE_OIDC_SCOPES']),
    principalClaim: filled(env['SLUICE_OIDC_PRINCIPAL_CLAIM']),
    principalPrefix: filled(env['SLUICE_OIDC_PRINCIPAL_PREFIX']),
    groupsClaim: filled(env['SLUICE_OIDC_GROUPS_CLAIM']),
    tenantClaim: filled(env['SLUICE_OIDC_TENANT_CLAIM']),
  }
  const algorithms = parseAlgorithms(filled(env['SLUICE_OIDC_ALGORITHMS']))
  const given = Object.entries(texts).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(given), ...(algorithms && { algorithms }) }
}

function parseIssuer(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const trusted = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackName(url.hostname))
  if (url && trusted && url.search === '' && url.hash === '' && url.username === '') return text
  throw new UsageError(
    `--oidc-issuer must be an https address without query and fragment (http on this machine only), not "${text}".`,
  )
}

function parsePublicUrl(value: string | undefined): string | undefined {
  const text = filled(value)
  if (text === undefined) return undefined
  const url = URL.canParse(text) ? new URL(text) : undefined
  const trusted = url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackName(url.hostname))
  if (url && trusted && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '')
    return url.origin
  throw new UsageError(
    `--public-url must be where browsers find Sluice, such as https://sluice.example.com (http on this machine only, no path), not "${text}".`,
  )
}

function parseAlgorithms(text: string | undefined): readonly string[] | undefined {
  const algorithms = text?.split(/[\s,]+/).filter((name) => name !== '')
  const wrong = algorithms?.find((name) => !asymmetricAlgorithms.some((known) => known === name))
  if (wrong === undefined) return algorithms
  throw new UsageError(`SLUICE_OIDC_ALGORITHMS takes ${asymmetricAlgorithms.join(', ')}, not "${wrong}".`)
}

const isLoopbackName = (host: string): boolean => /^(localhost|\[::1\]|127(\.\d+){3})$/.test(host)

/** An empty variable counts as unset. */
const filled = (value: string | undefined): string | undefined => (value === '' ? undefined : value)
