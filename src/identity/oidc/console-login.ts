import { decodeProtectedHeader } from 'jose'
import {
  AuthorizationResponseError,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  calculatePKCECodeChallenge,
  type Configuration,
  fetchUserInfo,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client'
import type { FederatedPerson } from '../principal.ts'
import { algorithmsOf, type OidcSettings } from './oidc-settings.ts'
import { type Provider, ProviderUnreachableError } from './provider.ts'
import { readClaims } from './read-claims.ts'

/** What the browser keeps between leaving for the provider and coming back. */
export interface LoginAttempt {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
}

/** `denied`: the person, or the provider, said no. `failed`: what came back proves nothing. */
export type LoginRefusal = 'denied' | 'failed'

class LoginRefusedError extends Error {
  readonly code: LoginRefusal
  constructor(code: LoginRefusal, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The console's login at the provider: authorization code with PKCE, state and nonce. All throw ProviderUnreachableError. */
export interface ConsoleLogin {
  /** Where to send the browser. */
  begin(redirectUri: string): Promise<{ readonly url: string; readonly attempt: LoginAttempt }>
  /** Who came back. `address` is what the browser asked for, with the provider's answer in it. @throws LoginRefusedError */
  complete(address: URL, attempt: LoginAttempt): Promise<FederatedPerson>
  /** Where the session at the provider ends, too; undefined where it offers no such place. */
  endAddress(returnTo: string): Promise<string | undefined>
}

export function createConsoleLogin(settings: OidcSettings, provider: Provider): ConsoleLogin {
  const algorithms = algorithmsOf(settings)
  return {
    begin: async (redirectUri) => {
      const attempt = { state: randomState(), nonce: randomNonce(), verifier: randomPKCECodeVerifier() }
      const url = buildAuthorizationUrl(await provider.configuration(), {
        redirect_uri: redirectUri,
        scope: settings.scopes ?? 'openid profile email',
        state: attempt.state,
        nonce: attempt.nonce,
        code_challenge: await calculatePKCECodeChallenge(attempt.verifier),
        code_challenge_method: 'S256',
      })
      return { url: url.href, attempt }
    },
    complete: async (address, { state, nonce, verifier }) => {
      const configuration = await provider.configuration()
      const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true }
      const tokens = await authorizationCodeGrant(configuration, address, checks).catch(refuse)
      const { alg } = decodeProtectedHeader(tokens.id_token ?? '')
      const claims = tokens.claims()
      if (!claims || alg === undefined || !algorithms.includes(alg)) {
        throw new LoginRefusedError('failed', `The ID token is signed with ${alg ?? 'nothing'}.`)
      }
      const more = await askMore({ settings, configuration, claims, accessToken: tokens.access_token })
      const read = readClaims(settings, { ...more, ...claims })
      if ('problem' in read) throw new LoginRefusedError('failed', `The login names nobody: ${read.problem}.`)
      return read.person
    },
    endAddress: async (returnTo) => {
      const configuration = await provider.configuration()
      if (configuration.serverMetadata().end_session_endpoint === undefined) return undefined
      return buildEndSessionUrl(configuration, { post_logout_redirect_uri: returnTo }).href
    },
  }
}

interface Asking {
  readonly settings: OidcSettings
  readonly configuration: Configuration
  readonly claims: Readonly<Record<string, unknown>> & { readonly sub: string }
  readonly accessToken: string
}

/** Many providers put little into the ID token: the rest is asked for where a claim that we need is missing. */
async function askMore({ settings, configuration, claims, accessToken }: Asking): Promise<Record<string, unknown>> {
  const { principalClaim = 'sub', groupsClaim = 'groups', tenantClaim } = settings
  const wanted = [principalClaim, groupsClaim, ...(tenantClaim === undefined ? [] : [tenantClaim])]
  const complete = wanted.every((name) => name in claims)
  if (complete || configuration.serverMetadata().userinfo_endpoint === undefined) return {}
  return { ...(await fetchUserInfo(configuration, accessToken, claims.sub).catch(refuse)) }
}

function refuse(error: unknown): never {
  if (error instanceof AuthorizationResponseError) {
    throw new LoginRefusedError('denied', `The identity provider says ${error.error}.`, { cause: error })
  }
  // Neither an answer nor a refusal: fetch's own error has no code.
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'OAUTH_TIMEOUT' || (error instanceof TypeError && code === undefined)) {
    throw new ProviderUnreachableError('The identity provider does not answer.', { cause: error })
  }
  const message = error instanceof Error ? error.message : String(error)
  throw new LoginRefusedError('failed', `The login cannot be completed: ${message}`, { cause: error })
}
