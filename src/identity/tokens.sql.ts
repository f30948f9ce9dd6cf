import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** A token as everybody but its holder knows it. */
export interface TokenRow {
  readonly token_id: string
  readonly name: string
  readonly principal: string
  readonly prefix: string
  readonly scopes: string[] | null
  readonly created_by: string
  readonly created_at: Date
  readonly expires_at: Date | null
  readonly last_used_at: Date | null
  readonly revoked_at: Date | null
}

const columns = sql.raw(
  'token_id, name, principal, prefix, scopes, created_by, created_at, expires_at, last_used_at, revoked_at',
)

export interface NewTokenRow extends Pick<TokenRow, 'token_id' | 'name' | 'principal' | 'prefix' | 'created_by'> {
  readonly tenant: string
  readonly hash: Buffer
  readonly made_by: readonly string[]
  readonly scopes: readonly string[] | null
  readonly lifetimeMs: number | null
}

export async function insertToken(tx: Transaction, token: NewTokenRow): Promise<TokenRow> {
  const seconds = token.lifetimeMs === null ? null : token.lifetimeMs / 1000
  const { rows } = await sql<TokenRow>`insert into sluice.api_tokens
      (token_id, tenant_id, principal, name, prefix, hash, scopes, created_by, made_by, expires_at)
    values (${token.token_id}::uuid, ${token.tenant}, ${token.principal}, ${token.name}, ${token.prefix}, ${token.hash},
      ${token.scopes}::text[], ${token.created_by}, ${token.made_by}::text[], clock_timestamp() + make_interval(secs => ${seconds}::float8))
    returning ${columns}`.execute(tx)
  const [row] = rows
  if (!row) throw new Error('the token that was inserted was not returned')
  return row
}

/** Of the transaction's tenant, newest first; of one principal where one is named. */
export async function selectTokens(
  tx: Transaction,
  page: { readonly principal?: string; readonly after?: string; readonly limit: number },
): Promise<TokenRow[]> {
  const { rows } = await sql<TokenRow>`select ${columns} from sluice.api_tokens
    where (${page.principal ?? null}::text is null or principal = ${page.principal ?? null})
      and (${page.after ?? null}::uuid is null or token_id < ${page.after ?? null}::uuid)
      and tenant_id = current_setting('sluice.tenant')
    order by token_id desc limit ${page.limit}`.execute(tx)
  return rows
}

export async function selectToken(tx: Transaction, tokenId: string): Promise<TokenRow | undefined> {
  const { rows } = await sql<TokenRow>`select ${columns} from sluice.api_tokens
    where token_id = ${tokenId}::uuid and tenant_id = current_setting('sluice.tenant')`.execute(tx)
  return rows[0]
}

/** False when it was revoked before. */
export async function markRevoked(tx: Transaction, tokenId: string, actor: string): Promise<boolean> {
  const { numAffectedRows } = await sql`update sluice.api_tokens
    set revoked_at = clock_timestamp(), revoked_by = ${actor}
    where token_id = ${tokenId}::uuid and tenant_id = current_setting('sluice.tenant') and revoked_at is null`.execute(
    tx,
  )
  return numAffectedRows === 1n
}
