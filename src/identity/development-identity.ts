import { createHash, randomBytes } from 'node:crypto'
import type { Identity, OneTimeSecret, Principal, Session } from './principal.ts'

export const developmentPrincipals = ['requester', 'approver', 'admin'] as const
export type DevelopmentPrincipal = (typeof developmentPrincipals)[number]

export interface DevelopmentIdentityOptions {
  readonly tokens: Readonly<Record<DevelopmentPrincipal, string>>
  /** The code in the link that `sluice start` prints: opens the console as `requester`, once. */
  readonly oneTimeCode?: string
  readonly now?: () => number
}

const sessionMs = 12 * 3_600_000
const codeMs = 3_600_000
const passMs = 60_000

/**
 * Three principals in the tenant `default`, for one process on its own machine. Sessions live in memory: a restart
 * signs everybody out.
 */
export function createDevelopmentIdentity(options: DevelopmentIdentityOptions): Identity {
  const now = options.now ?? Date.now
  const sessions = new Map<string, Session>()
  const codes = createOneTimeSecrets(now, codeMs)
  const passes = createOneTimeSecrets(now, passMs)
  // Looked up by hash: how long a look-up takes says nothing about the token.
  const byToken = new Map(developmentPrincipals.map((name) => [sha256(options.tokens[name]), toPrincipal(name)]))
  if (options.oneTimeCode !== undefined) codes.add(options.oneTimeCode, toPrincipal('requester'))

  const find = (id: string): Session | undefined => {
    const session = sessions.get(id)
    if (session && session.expiresAt.getTime() > now()) return session
    sessions.delete(id)
    return undefined
  }

  return {
    authenticate: async (credential) => {
      switch (credential.kind) {
        case 'bearer':
          return byToken.get(sha256(credential.token))
        case 'session':
          return find(sha256(credential.id))?.principal
        case 'pass':
          return passes.take(credential.pass)
      }
    },
    openSession: async (code) => {
      const principal = codes.take(code)
      if (!principal) return undefined
      const id = randomBytes(32).toString('base64url')
      const session = { id, principal, expiresAt: new Date(now() + sessionMs) }
      sessions.set(sha256(id), session)
      return session
    },
    closeSession: async (id) => {
      sessions.delete(sha256(id))
    },
    issueCode: async (principal) => codes.issue(principal),
    issuePass: async (principal) => passes.issue(principal),
  }
}

/** Nobody: a real database, or another host than loopback, has no development principals. */
export function createClosedIdentity(): Identity {
  const refuse = () => Promise.reject(new Error('no principals are configured'))
  return {
    authenticate: async () => undefined,
    openSession: async () => undefined,
    closeSession: async () => undefined,
    issueCode: refuse,
    issuePass: refuse,
  }
}

const toPrincipal = (name: DevelopmentPrincipal): Principal => ({ name, tenants: ['default'], roles: [name] })

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64')

function createOneTimeSecrets(now: () => number, lifetimeMs: number) {
  const held = new Map<string, { readonly principal: Principal; readonly expiresAt: number }>()
  const add = (secret: string, principal: Principal): Date => {
    for (const [key, { expiresAt }] of held) if (expiresAt <= now()) held.delete(key)
    const expiresAt = now() + lifetimeMs
    held.set(sha256(secret), { principal, expiresAt })
    return new Date(expiresAt)
  }
  return {
    add,
    issue: (principal: Principal): OneTimeSecret => {
      const secret = randomBytes(24).toString('base64url')
      return { secret, expiresAt: add(secret, principal) }
    },
    take: (secret: string): Principal | undefined => {
      const key = sha256(secret)
      const entry = held.get(key)
      held.delete(key)
      return entry && entry.expiresAt > now() ? entry.principal : undefined
    },
  }
}
