import type { Permission, Role } from '../contract/identity.ts'
import type { Standing } from './standing.ts'

/** Who a request comes from, in the one tenant that it acts in, with its roles there. */
export interface Principal extends Standing {
  readonly name: string
  /** The tenants the principal belongs to; a request acts in exactly one. */
  readonly tenants: readonly [string, ...string[]]
}

/** Whom a credential belongs to, before the request has said in which tenant it acts. */
export interface Known {
  readonly name: string
  /** At least one: who has no role anywhere is nobody. */
  readonly grants: readonly Grant[]
  /** As the identity provider named them. @default none */
  readonly groups?: readonly string[]
  /** A token's scopes: never more than these, whatever the roles say. */
  readonly scopes?: readonly string[]
  /** Who else has the token in hand: who made it, or the token that it was made with, for this principal. @default nobody */
  readonly madeBy?: readonly string[]
  /** What it stands and falls with. */
  readonly source: Source
}

export interface Grant {
  readonly tenant: string
  readonly role: Role
  /** Whether the tenant is that of those who run the platform. @default false */
  readonly platform?: boolean
  /** The environments in which the role holds. @default everywhere */
  readonly environments?: readonly string[]
}

export type Source =
  | { readonly kind: 'token'; readonly tokenId: string }
  /** With the token that the session was made with, where there was one. */
  | { readonly kind: 'session'; readonly hash: Buffer; readonly tokenId?: string }
  | { readonly kind: 'development' }
  | { readonly kind: 'provider'; readonly person: FederatedPerson; readonly expiresAt: Date }

/** A principal as the identity provider names it. */
export interface FederatedPerson {
  readonly issuer: string
  readonly name: string
  readonly groups: readonly string[]
  /** Where the provider lets it act. @default wherever it, or one of its groups, has a role */
  readonly tenants?: readonly string[]
}

/** What a request shows to prove who it comes from. */
export type Credential =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'session'; readonly id: string }
  | { readonly kind: 'pass'; readonly pass: string }

/** Tells who a credential belongs to, and keeps the browser's sessions. */
export interface Identity {
  /** Needs the database's tables. */
  start(): Promise<void>
  authenticate(credential: Credential): Promise<Known | undefined>
  /**
   * Who acts for a principal that asked in advance, as it is now: undefined once it has no role in the tenant by its own
   * name. Nobody says then which groups it is in.
   */
  find(tenant: string, name: string): Promise<Caller | undefined>
  /** The same as it is now: undefined once its token is revoked or expired, its session closed, its last role taken. */
  refresh(known: Known): Promise<Known | undefined>
  /**
   * Exchanges a one-time code for a session with a new id, and ends the one that the browser had before. Undefined when
   * the code is unknown, used or expired.
   */
  openSession(code: string, previousId?: string): Promise<Session | undefined>
  /** A session for whom the identity provider has just let in; ends the one before. Undefined where it has no role. */
  openFederatedSession(person: FederatedPerson, previousHash?: string): Promise<Session | undefined>
  closeSession(id: string): Promise<void>
  /** A one-time code into the console for this principal. */
  issueCode(known: Known): Promise<OneTimeSecret>
  /** A one-minute pass for one live connection, where a client can send no header. */
  issuePass(known: Known): Promise<OneTimeSecret>
  stop(): Promise<void>
}

export interface Session {
  readonly id: string
  readonly known: Known
  readonly expiresAt: Date
}

export interface OneTimeSecret {
  readonly secret: string
  readonly expiresAt: Date
}

/** Who acts in a tenant, with what the roles there allow. */
export interface Caller {
  readonly principal: Principal
  readonly tenant: string
  readonly permissions: ReadonlySet<Permission>
}
