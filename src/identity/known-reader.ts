import type { Transaction } from '../database/database.ts'
import type { DevelopmentPrincipals } from './database-identity.ts'
import { type Holder, type OneTimeRow, selectGrants, selectLiveToken, selectSession } from './identity.sql.ts'
import type { FederatedPerson, Grant, Known } from './principal.ts'

export interface KnownReaderOptions {
  /** Principals that no table holds. @default none */
  readonly development?: DevelopmentPrincipals
  /** The tenant of those who run the platform: its operators and admins may do what concerns every tenant. @default none */
  readonly platformTenant?: string
  /** The identity provider that is trusted. What another one said of a principal counts no more. @default none */
  readonly issuer?: string
}

/** What the tables say about each kind of credential. */
export function createKnownReader({ development, platformTenant, issuer }: KnownReaderOptions) {
  const known = (found: Known): Known | undefined => (found.grants.length > 0 ? found : undefined)
  const mark = (grant: Grant): Grant => (grant.tenant === platformTenant ? { ...grant, platform: true } : grant)

  const grants = async (tx: Transaction, name: string): Promise<Grant[]> =>
    [...(development?.grantsOf(name) ?? []), ...(await selectGrants(tx, name))].map(mark)

  const token = async (tx: Transaction, by: Parameters<typeof selectLiveToken>[1]): Promise<Known | undefined> => {
    const found = await selectLiveToken(tx, by)
    if (!found) return undefined
    const { principal: name, scopes, tokenId } = found
    const madeBy = found.madeBy.filter((maker) => maker !== name)
    return known({
      name,
      // A token acts in its own tenant only, whatever else its principal belongs to.
      grants: (await grants(tx, name)).filter(({ tenant }) => tenant === found.tenant),
      ...(scopes && { scopes }),
      ...(madeBy.length > 0 && { madeBy }),
      source: { kind: 'token', tokenId },
    })
  }

  const developmentPrincipal = async (tx: Transaction, name: string): Promise<Known | undefined> =>
    known({ name, grants: await grants(tx, name), source: { kind: 'development' } })

  /** Whom the provider has let in. No development principal has the name: those are for who holds their token. */
  const federated = async (tx: Transaction, person: FederatedPerson, expiresAt: Date): Promise<Known | undefined> => {
    if (person.issuer !== issuer) return undefined
    const held = await selectGrants(tx, person.name, person.groups)
    const allowed = held.filter(({ tenant }) => person.tenants?.includes(tenant) ?? true).map(mark)
    return known({
      name: person.name,
      groups: person.groups,
      grants: allowed,
      source: { kind: 'provider', person, expiresAt },
    })
  }

  const holder = async (tx: Transaction, row: Holder, expiresAt: Date): Promise<Known | undefined> => {
    const { principal: name, tokenId, issuer: from, groups, tenants } = row
    if (tokenId !== null) return token(tx, { tokenId })
    if (from === null) return developmentPrincipal(tx, name)
    return federated(tx, { issuer: from, name, groups, ...(tenants && { tenants }) }, expiresAt)
  }

  const session = async (tx: Transaction, hash: Buffer): Promise<Known | undefined> => {
    const held = await selectSession(tx, hash)
    const found = held && (await holder(tx, held, held.expiresAt))
    const tokenId = held?.tokenId ?? undefined
    return found && { ...found, source: { kind: 'session', hash, ...(tokenId !== undefined && { tokenId }) } }
  }

  /** Whoever made a code or a pass, as they are now. */
  const origin = async (tx: Transaction, row: OneTimeRow): Promise<Known | undefined> =>
    row.sessionHash ? session(tx, row.sessionHash) : holder(tx, row, row.proofUntil ?? row.expiresAt)

  return { grants, token, developmentPrincipal, federated, session, origin }
}
