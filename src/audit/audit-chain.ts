import type { AuditHead, AuditVerified } from '../contract/audit.ts'
import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import type { ChainPlace } from './chain-walk.ts'
import { verifyAudit, type VerifyPosition } from './verify.ts'
import { readHeads } from './verify.sql.ts'

/** The end of one tenant's chain. */
export async function readHead(database: Database, tenant: string): Promise<AuditHead> {
  const [head] = await readAsTenant(database, tenant, (tx) => readHeads(tx, tenant))
  if (!head) return { tenant, position: 0, hash: '', sealed_at: null }
  return { tenant, position: Number(head.position), hash: head.hash, sealed_at: head.sealed_at.toISOString() }
}

/** The ends of all chains. */
export async function readAllHeads(database: Database): Promise<AuditHead[]> {
  const heads = await database.transaction({ role: 'sluice_feed', readOnly: true }, (tx) => readHeads(tx, undefined))
  return heads.map(({ tenant_id: tenant, position, hash, sealed_at }) => ({
    tenant,
    position: Number(position),
    hash,
    sealed_at: sealed_at.toISOString(),
  }))
}

/** Long enough to be worth a request, short enough for every proxy. */
const budgetMs = 5_000
const maxFindings = 1_000

/** Verifies one tenant's chain for some seconds. Undefined where the token is none. */
export async function verifyTenant(
  database: Database,
  { tenant, head, token }: { tenant: string; head: ChainPlace | undefined; token: string | undefined },
): Promise<AuditVerified | undefined> {
  const from = token === undefined ? undefined : readToken(tenant, token)
  if (token !== undefined && !from) return undefined
  const heads = head && new Map([[tenant, [head]]])
  const verified = await verifyAudit({ database, tenant, from, budgetMs, ...(heads && { heads }) })
  const { events, findings, next, places, tail } = verified
  const place = places.get(tenant)
  return {
    events,
    findings: findings.slice(0, maxFindings),
    position: place?.position ?? 0,
    hash: place?.hash ?? '',
    unsealed: tail.events,
    oldest_unsealed_at: tail.oldest?.toISOString() ?? null,
    next_page_token: next ? writeToken(tenant, next) : null,
  }
}

// Who verifies holds the token, and would only deceive themselves by changing it.
function writeToken(tenant: string, { round, places, notedDrops }: VerifyPosition): string {
  const state = [round.toString(), places.get(tenant) ?? null, notedDrops.get(tenant) ?? null]
  return Buffer.from(JSON.stringify(state)).toString('base64url')
}

function readToken(tenant: string, token: string): VerifyPosition | undefined {
  try {
    const state: unknown = JSON.parse(Buffer.from(token, 'base64url').toString())
    if (!Array.isArray(state) || typeof state[0] !== 'string') return undefined
    return { round: BigInt(state[0]), places: placeOf(tenant, state[1]), notedDrops: placeOf(tenant, state[2]) }
  } catch {
    return undefined
  }
}

function placeOf(tenant: string, place: unknown): Map<string, ChainPlace> {
  if (typeof place !== 'object' || place === null || !('position' in place) || !('hash' in place)) return new Map()
  return new Map([[tenant, { position: Number(place.position), hash: String(place.hash) }]])
}
