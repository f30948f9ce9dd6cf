import { isPrincipalName } from '../../contract/identity.ts'
import type { FederatedPerson } from '../principal.ts'
import type { OidcSettings } from './oidc-settings.ts'

const maxGroups = 500
const maxGroupLength = 255

/** Who the provider says it is: verified claims as a principal. Or why they name nobody. */
export function readClaims(
  settings: OidcSettings,
  claims: Readonly<Record<string, unknown>>,
): { readonly person: FederatedPerson } | { readonly problem: string } {
  const { principalClaim = 'sub', principalPrefix = '', groupsClaim = 'groups', tenantClaim } = settings
  const claimed = claims[principalClaim]
  if (typeof claimed !== 'string') return { problem: `there is no claim ${principalClaim}` }
  // An address that nobody has proved is anybody's.
  if (principalClaim === 'email' && claims['email_verified'] !== true) return { problem: 'the e-mail is not verified' }
  const name = principalPrefix + claimed
  if (!isPrincipalName(name)) return { problem: `the claim ${principalClaim} is no name of a principal` }
  const groups = readNames(claims[groupsClaim])
  if (groups === undefined) return { problem: `the claim ${groupsClaim} is no list of groups` }
  const tenants = tenantClaim === undefined ? undefined : (readNames(claims[tenantClaim]) ?? [])
  return { person: { issuer: settings.issuer, name, groups, ...(tenants && { tenants }) } }
}

/** Absent: none. Undefined for what is no list of names. */
function readNames(value: unknown): string[] | undefined {
  if (value === undefined || value === null) return []
  const list: unknown[] = Array.isArray(value) ? value : [value]
  const names = list.filter((one) => typeof one === 'string' && one !== '' && one.length <= maxGroupLength)
  return names.length === list.length && names.length <= maxGroups ? names.map(String) : undefined
}
