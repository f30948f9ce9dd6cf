import { createHash, randomBytes } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { fromWireId, toWireId } from '../contract/ids.ts'
import type { ApiToken } from '../contract/identity.ts'
import type { Database } from '../database/database.ts'
import { RefusedError } from '../operations/define-operation.ts'
import { insertToken, markRevoked, selectToken, selectTokens, type TokenRow } from './tokens.sql.ts'
import { appendAudit } from './audit.sql.ts'

/** Secret scanners find a leaked token by this. */
export const tokenPrefix = 'slc_'
const shownCharacters = tokenPrefix.length + 6

export interface NewToken {
  readonly tenant: string
  readonly actor: string
  /** Who else has the token in hand that the actor came with: and so this one. @default nobody */
  readonly madeBy?: readonly string[] | undefined
  readonly principal: string
  readonly name: string
  readonly scopes?: readonly string[] | undefined
  /** Milliseconds from now. @default never */
  readonly lifetimeMs?: number | undefined
}

/** Makes a token of 256 random bits. What is returned is the only copy: the database keeps its hash. */
export async function createToken(
  database: Database,
  token: NewToken,
): Promise<{ readonly token: string; readonly shown: ApiToken }> {
  const { tenant, actor, principal, name } = token
  const text = tokenPrefix + randomBytes(32).toString('base64url')
  const row = await database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const inserted = await insertToken(tx, {
      token_id: uuidv7(),
      tenant,
      name,
      principal,
      prefix: text.slice(0, shownCharacters),
      hash: createHash('sha256').update(text).digest(),
      scopes: token.scopes ?? null,
      lifetimeMs: token.lifetimeMs ?? null,
      created_by: actor,
      made_by: [...new Set([actor, ...(token.madeBy ?? [])])],
    })
    const data = { token_id: toWireId('token', inserted.token_id), principal, name, scopes: inserted.scopes }
    await appendAudit(tx, { type: 'token.created', actor, data })
    return inserted
  })
  return { token: text, shown: toApiToken(row) }
}

export interface TokenSelection {
  readonly tenant: string
  /** Whose; without it, everybody's. */
  readonly principal?: string | undefined
  readonly pageSize: number
  readonly pageToken?: string | undefined
}

/** Newest first. Throws `RefusedError` on a page token that no list returned. */
export async function listTokens(
  database: Database,
  { tenant, principal, pageSize, pageToken }: TokenSelection,
): Promise<{ readonly items: ApiToken[]; readonly nextPageToken: string | null }> {
  const after = pageToken === undefined ? undefined : fromWireId('token', pageToken)
  if (pageToken !== undefined && after === undefined) {
    throw new RefusedError('The page token is not one that a list returned.', {
      status: 422,
      code: 'invalid_page_token',
    })
  }
  const rows = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    selectTokens(tx, {
      limit: pageSize + 1,
      ...(principal !== undefined && { principal }),
      ...(after !== undefined && { after }),
    }),
  )
  const items = rows.slice(0, pageSize).map(toApiToken)
  return { items, nextPageToken: rows.length > pageSize ? (items.at(-1)?.token_id ?? null) : null }
}

export interface Revocation {
  readonly tenant: string
  readonly actor: string
  readonly tokenId: string
  /** Whose token it must be; without it, anybody's of the tenant. */
  readonly owner?: string | undefined
}

/** Ends a token; again changes nothing. False when there is none that the caller may end. */
export async function revokeToken(database: Database, { tenant, actor, tokenId, owner }: Revocation): Promise<boolean> {
  const id = fromWireId('token', tokenId)
  if (id === undefined) return false
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const token = await selectToken(tx, id)
    if (!token || (owner !== undefined && token.principal !== owner)) return false
    if (await markRevoked(tx, id, actor)) {
      await appendAudit(tx, { type: 'token.revoked', actor, data: { token_id: tokenId, principal: token.principal } })
    }
    return true
  })
}

function toApiToken(row: TokenRow): ApiToken {
  return {
    token_id: toWireId('token', row.token_id),
    name: row.name,
    principal: row.principal,
    prefix: row.prefix,
    scopes: row.scopes,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
    expires_at: row.expires_at?.toISOString() ?? null,
    last_used_at: row.last_used_at?.toISOString() ?? null,
    revoked_at: row.revoked_at?.toISOString() ?? null,
  }
}
