import { createHash } from 'node:crypto'
import { createDatabaseIdentity, type DatabaseIdentityOptions } from './database-identity.ts'
import type { Identity } from './principal.ts'

export const developmentPrincipals = ['requester', 'approver', 'admin'] as const
export type DevelopmentPrincipal = (typeof developmentPrincipals)[number]

export interface DevelopmentIdentityOptions extends Omit<DatabaseIdentityOptions, 'development'> {
  readonly tokens: Readonly<Record<DevelopmentPrincipal, string>>
  /** The code in the link that `sluice start` prints: opens the console as `requester`, once. */
  readonly oneTimeCode?: string
}

/**
 * The database's principals, and three more in the tenant `default` that have the role of their name: for embedded mode
 * on loopback only. Their tokens are in a file; their sessions are in the database like everybody's.
 */
export function createDevelopmentIdentity(options: DevelopmentIdentityOptions): Identity {
  const { tokens, oneTimeCode, ...rest } = options
  // Looked up by hash: how long a look-up takes says nothing about the token.
  const byToken = new Map(developmentPrincipals.map((name) => [sha256(tokens[name]), name]))
  return createDatabaseIdentity({
    ...rest,
    development: {
      nameOf: (token) => byToken.get(sha256(token)),
      grantsOf: (name) => {
        const role = developmentPrincipals.find((principal) => principal === name)
        return role ? [{ tenant: 'default', role }] : []
      },
      ...(oneTimeCode !== undefined && { oneTimeCode: { code: oneTimeCode, name: 'requester' } }),
    },
  })
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64')
