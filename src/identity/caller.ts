import { permissionsOf } from './permissions.ts'
import type { Caller, Known } from './principal.ts'
import { limitsOf } from './standing.ts'

/** The principal in one of its tenants. */
export function callerIn(known: Omit<Known, 'source'>, tenant: string): Caller {
  const grants = known.grants.filter((grant) => grant.tenant === tenant)
  const roles = [...new Set(grants.map(({ role }) => role))]
  // Who is known has a grant.
  const tenants = tenantsOf(known) as [string, ...string[]]
  const { name, groups, madeBy } = known
  const limits = limitsOf(grants)
  const principal = {
    name,
    tenants,
    roles,
    ...(groups && { groups }),
    ...(limits && { limits }),
    ...(madeBy !== undefined && { madeBy }),
  }
  return { principal, tenant, permissions: permissionsOf(grants, known.scopes) }
}

export function tenantsOf({ grants }: Pick<Known, 'grants'>): string[] {
  return [...new Set(grants.map(({ tenant }) => tenant))]
}
