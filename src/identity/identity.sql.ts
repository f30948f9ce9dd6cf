import { sql } from 'kysely'
import type { Role } from '../contract/identity.ts'
import type { Transaction } from '../database/database.ts'
import type { Grant } from './principal.ts'

/** Every role of a principal, in every tenant. */
export async function selectGrants(tx: Transaction, principal: string): Promise<Grant[]> {
  const { rows } = await sql<{
    tenant: string
    role: Role
  }>`select tenant, role from sluice.roles_of(${principal})`.execute(tx)
  return rows
}

export interface LiveToken {
  readonly tokenId: string
  readonly tenant: string
  readonly principal: string
  readonly scopes: readonly string[] | null
}

/** The token, unless it is unknown, revoked or expired. */
export async function selectLiveToken(
  tx: Transaction,
  by: { readonly hash: Buffer } | { readonly tokenId: string },
): Promise<LiveToken | undefined> {
  const hash = 'hash' in by ? by.hash : null
  const tokenId = 'tokenId' in by ? by.tokenId : null
  const { rows } = await sql<LiveToken>`select token_id as "tokenId", tenant, principal, scopes
    from sluice.live_token(${hash}::bytea, ${tokenId}::uuid)`.execute(tx)
  return rows[0]
}

/** Notes that the tokens were used a moment ago. */
export async function touchTokens(tx: Transaction, tokenIds: readonly string[]): Promise<void> {
  await sql`select sluice.touch_tokens(${tokenIds}::uuid[])`.execute(tx)
}

export interface HeldSession {
  readonly principal: string
  readonly tokenId: string | null
}

export async function selectSession(tx: Transaction, hash: Buffer): Promise<HeldSession | undefined> {
  const { rows } = await sql<HeldSession>`select principal, token_id as "tokenId" from sluice.sessions
    where hash = ${hash} and expires_at > clock_timestamp()`.execute(tx)
  return rows[0]
}

export interface NewSession extends HeldSession {
  readonly hash: Buffer
  readonly lifetimeMs: number
}

/** Keeps a session, and forgets those that have expired. */
export async function insertSession(tx: Transaction, session: NewSession): Promise<Date> {
  await sql`delete from sluice.sessions where expires_at <= clock_timestamp()`.execute(tx)
  const { rows } = await sql<{ expiresAt: Date }>`insert into sluice.sessions (hash, principal, token_id, expires_at)
    values (${session.hash}, ${session.principal}, ${session.tokenId}::uuid,
      clock_timestamp() + make_interval(secs => ${session.lifetimeMs / 1000}))
    returning expires_at as "expiresAt"`.execute(tx)
  return returned(rows)
}

export async function deleteSession(tx: Transaction, hash: Buffer): Promise<void> {
  await sql`delete from sluice.sessions where hash = ${hash}`.execute(tx)
}

export interface OneTimeRow {
  readonly principal: string
  readonly tokenId: string | null
  readonly sessionHash: Buffer | null
}

export interface NewOneTimeRow extends OneTimeRow {
  readonly hash: Buffer
  readonly kind: 'code' | 'pass'
  readonly lifetimeMs: number
}

/** Keeps a code or a pass, and forgets those that have expired. */
export async function insertOneTimeSecret(tx: Transaction, secret: NewOneTimeRow): Promise<Date> {
  await sql`delete from sluice.one_time_secrets where expires_at <= clock_timestamp()`.execute(tx)
  const { rows } = await sql<{ expiresAt: Date }>`insert into sluice.one_time_secrets
      (hash, kind, principal, token_id, session_hash, expires_at)
    values (${secret.hash}, ${secret.kind}, ${secret.principal}, ${secret.tokenId}::uuid, ${secret.sessionHash}::bytea,
      clock_timestamp() + make_interval(secs => ${secret.lifetimeMs / 1000}))
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
    returning principal, token_id as "tokenId", session_hash as "sessionHash", expires_at > clock_timestamp() as live`.execute(
    tx,
  )
  return rows[0]?.live === true ? rows[0] : undefined
}

function returned(rows: readonly { readonly expiresAt: Date }[]): Date {
  const [row] = rows
  if (!row) throw new Error('the row that was inserted was not returned')
  return row.expiresAt
}
