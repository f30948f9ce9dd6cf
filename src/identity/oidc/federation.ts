import type { Cache } from '../../platform/cache.ts'
import type { Logger } from '../../platform/logger.ts'
import { type ConsoleLogin, createConsoleLogin } from './console-login.ts'
import type { OidcSettings } from './oidc-settings.ts'
import { connectProvider } from './provider.ts'
import { createBearerVerifier, type VerifiedBearer } from './verify-bearer.ts'

/** What an identity provider is trusted with. */
export interface Federation {
  readonly issuer: string
  /** Undefined: no JWT is let in. */
  readonly verifyForeign: ((token: string) => Promise<VerifiedBearer | undefined>) | undefined
  /** Undefined: nobody signs in to the console there. */
  readonly login: ConsoleLogin | undefined
}

interface FederationParts {
  readonly cache: Cache
  readonly logger: Logger
}

/** Asks the provider nothing yet: Sluice starts without it. */
export function createFederation(settings: OidcSettings, { cache, logger }: FederationParts): Federation {
  const provider = connectProvider(settings)
  const { issuer, audience } = settings
  return {
    issuer,
    verifyForeign:
      audience === undefined
        ? undefined
        : createBearerVerifier({ settings: { ...settings, audience }, provider, cache, logger }),
    login: settings.client && createConsoleLogin(settings, provider),
  }
}
