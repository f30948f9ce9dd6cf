import { sql } from 'kysely'
import type { Role } from '../contract/identity.ts'
import type { Transaction } from '../database/database.ts'
import type { FederatedPerson, Grant } from './principal.ts'

/** Every role of a principal, and of the groups that the provider says it is in, in every tenant. */
export async function selectGrants(
  tx: Transaction,
  principal: string,
  groups: readonly string[] = [],
): Promise<Grant[]> {
  const { rows } = await sql<{ tenant: string; role: Role; environments: string[] | null }>`
    select tenant, role, environments from sluice.grants_of(${principal}, ${groups}::text[])`.execute(tx)
  return rows.map(({ tenant, role, environments }) => ({ tenant, role, ...(environments && { environments }) }))
}

export interface LiveToken {
  readonly tokenId: string
  readonly tenant: string
  readonly principal: string
  readonly scopes: readonly string[] | null
  readonly madeBy: readonly string[]
}

/** The token, unless it is unknown, revoked or expired. */
export async function selectLiveToken(
  tx: Transaction,
  by: { readonly hash: Buffer } | { readonly tokenId: string },
): Promise<LiveToken | undefined> {
  const hash = 'hash' in by ? by.hash : null
  const tokenId = 'tokenId' in by ? by.tokenId : null
  const { rows } = await sql<LiveToken>`select token_id as "tokenId", tenant, principal, scopes, made_by as "madeBy"
    from sluice.live_api_token(${hash}::bytea, ${tokenId}::uuid)`.execute(tx)
  return rows[0]
}

/** Notes that the tokens were used a moment ago. */
export async function touchTokens(tx: Transaction, tokenIds: readonly string[]): Promise<void> {
  await sql`select sluice.touch_tokens(${tokenIds}::uuid[])`.execute(tx)
}

/** Whose it is; and what the provider said of them, where it let them in. */
export interface Holder {
  readonly principal: string
  readonly tokenId: string | null
  readonly issuer: string | null
  readonly groups: readonly string[]
  readonly tenants: readonly string[] | null
}

/** A principal without a provider. */
export function holderOf(principal: string, tokenId: string | null): Holder {
  return { principal, tokenId, issuer: null, groups: [], tenants: null }
}

export function federatedHolder({ name, issuer, groups, tenants = null }: FederatedHolder): Holder {
  return { principal: name, tokenId: null, issuer, groups, tenants }
}

type FederatedHolder = Omit<FederatedPerson, 'tenants'> & { readonly tenants?: readonly string[] | null }

export async function selectSession(
  tx: Transaction,
  hash: Buffer,
): Promise<(Holder & { readonly expiresAt: Date }) | undefined> {
  const { rows } = await sql<Holder & { expiresAt: Date }>`
    select principal, token_id as "tokenId", issuer, groups, tenants, expires_at as "expiresAt"
    from sluice.sessions where hash = ${hash} and expires_at > clock_timestamp()`.execute(tx)
  return rows[0]
}

export interface NewSession extends Holder {
  readonly hash: Buffer
  readonly lifetimeMs: number
  /** When the proof ends that it is opened with. @default never */
  readonly proofUntil?: Date | null | undefined
}

/** Keeps a session, and forgets those that have expired. */
export async function insertSession(tx: Transaction, session: NewSession): Promise<Date> {
  await sql`delete from sluice.sessions where expires_at <= clock_timestamp()`.execute(tx)
  const { principal, tokenId, issuer, groups, tenants, proofUntil = null } = session
  const { rows } = await sql<{ expiresAt: Date }>`insert into sluice.sessions
      (hash, principal, token_id, issuer, groups, tenants, expires_at)
    values (${session.hash}, ${principal}, ${tokenId}::uuid, ${issuer}, ${groups}::text[], ${tenants}::text[],
      least(clock_timestamp() + make_interval(secs => ${session.lifetimeMs / 1000}), ${proofUntil}::timestamptz))
    returning expires_at as "expiresAt"`.execute(tx)
  return returned(rows)
}

export async function deleteSession(tx: Transaction, hash: Buffer): Promise<void> {
  await sql`delete from sluice.sessions where hash = ${hash}`.execute(tx)
}

export interface OneTimeRow extends Holder {
  readonly sessionHash: Buffer | null
  /** When the proof ends that it was made with. */
  readonly proofUntil: Date | null
  readonly expiresAt: Date
}

export interface NewOneTimeRow extends Omit<OneTimeRow, 'expiresAt'> {
  readonly hash: Buffer
  readonly kind: 'code' | 'pass'
  readonly lifetimeMs: number
}

/** Keeps a code or a pass, and forgets those that have expired. */
export async function insertOneTimeSecret(tx: Transaction, secret: NewOneTimeRow): Promise<Date> {
  await sql`delete from sluice.one_time_secrets where expires_at <= clock_timestamp()`.execute(tx)
  const { principal, tokenId, issuer, groups, tenants, proofUntil } = secret
  const { rows } = await sql<{ expiresAt: Date }>`insert into sluice.one_time_secrets
      (hash, kind, principal, token_id, session_hash, issuer, groups, tenants, proof_until, expires_at)
    values (${secret.hash}, ${secret.kind}, ${principal}, ${tokenId}::uuid, ${secret.sessionHash}::bytea, ${issuer},
      ${groups}::text[], ${tenants}::text[], ${proofUntil}::timestamptz,
      least(clock_timestamp() + make_interval(secs => ${secret.lifetimeMs / 1000}), ${proofUntil}::timestamptz))
    returning expires_at as "expiresAt"`.execute(tx)
  return returned(rows)
}

/** Takes a code or a pass out: of several that ask at once, one gets it. */
export async function takeOneTimeSecret(
  tx: Transaction,
  kind: 'code' | 'pass',
  hash: Buffer,
): Promise<OneTimeRow | undefined> {
  const { rows } = await sql<OneTimeRow & { live: boolean }>`delete from sluice.one_time_secrets
    where hash = ${hash} and kind = ${kind}
    returning principal, token_id as "tokenId", session_hash as "sessionHash", issuer, groups, tenants,
      proof_until as "proofUntil", expires_at as "expiresAt", expires_at > clock_timestamp() as live`.execute(tx)
  return rows[0]?.live === true ? rows[0] : undefined
}

function returned(rows: readonly { readonly expiresAt: Date }[]): Date {
  const [row] = rows
  if (!row) throw new Error('the row that was inserted was not returned')
  return row.expiresAt
}
