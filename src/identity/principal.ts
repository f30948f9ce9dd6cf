/** Who a request comes from. */
export interface Principal {
  readonly name: string
  /** The tenants the principal belongs to; a request acts in exactly one. */
  readonly tenants: readonly [string, ...string[]]
  readonly roles: readonly string[]
  /** Groups that the identity provider names. @default none */
  readonly groups?: readonly string[]
}

/** What a request shows to prove who it comes from. */
export type Credential =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'session'; readonly id: string }
  | { readonly kind: 'pass'; readonly pass: string }

/** Tells who a credential belongs to, and keeps the browser's sessions. */
export interface Identity {
  authenticate(credential: Credential): Promise<Principal | undefined>
  /** Exchanges a one-time code for a session; undefined when the code is unknown, used or expired. */
  openSession(code: string): Promise<Session | undefined>
  closeSession(id: string): Promise<void>
  /** A one-time code into the console for this principal. */
  issueCode(principal: Principal): Promise<OneTimeSecret>
  /** A one-minute pass for one live connection, where a client can send no header. */
  issuePass(principal: Principal): Promise<OneTimeSecret>
}

export interface Session {
  readonly id: string
  readonly principal: Principal
  readonly expiresAt: Date
}

export interface OneTimeSecret {
  readonly secret: string
  readonly expiresAt: Date
}
