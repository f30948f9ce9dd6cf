import { allowInsecureRequests, type Configuration, discovery, enableNonRepudiationChecks, None } from 'openid-client'
import type { OidcSettings } from './oidc-settings.ts'

/** The identity provider does not answer, so that nobody can say who it is. Trying again later may help. */
export class ProviderUnreachableError extends Error {
  readonly code = 'identity_provider_unreachable'
  override readonly name = 'ProviderUnreachableError'
}

/** The provider as its discovery document describes it. */
export interface Provider {
  /** @throws ProviderUnreachableError */
  configuration(): Promise<Configuration>
}

const timeoutSeconds = 5
const retryMs = 5_000
const keptMs = 3_600_000

/**
 * Reads the discovery document when it is first needed, so that Sluice starts without its provider; again each hour; and
 * after a failure not before five seconds have passed, however many ask.
 */
export function connectProvider(settings: OidcSettings, now: () => number = () => performance.now()): Provider {
  let standing: { readonly found: Promise<Configuration>; until: number } | undefined
  const read = (): Promise<Configuration> => {
    const found = discover(settings).catch((error: unknown) => {
      if (standing?.found === found) standing.until = now() + retryMs
      const message = `The identity provider ${settings.issuer} does not answer as one: ${reasonOf(error)}`
      throw new ProviderUnreachableError(message, { cause: error })
    })
    standing = { found, until: now() + keptMs }
    return found
  }
  return { configuration: () => (standing && now() < standing.until ? standing.found : read()) }
}

function discover({ issuer, client }: OidcSettings): Promise<Configuration> {
  const url = new URL(issuer)
  const onThisMachine = /^(localhost|\[::1\]|127(\.\d+){3})$/.test(url.hostname)
  return discovery(url, client?.id ?? 'sluice', client?.secret, client?.secret === undefined ? None() : undefined, {
    timeout: timeoutSeconds,
    // The ID token's signature is checked, whatever brought it. Without TLS only what never leaves this machine; the
    // library marks that as deprecated to make it stand out.
    // oxlint-disable-next-line typescript/no-deprecated
    execute: [enableNonRepudiationChecks, ...(onThisMachine ? [allowInsecureRequests] : [])],
  })
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}
