import { permissionsOf } from './permissions.ts'
import type { Caller, Known } from './principal.ts'

/** The principal in one of its tenants. */
export function callerIn(known: Pick<Known, 'name' | 'grants' | 'scopes'>, tenant: string): Caller {
  const grants = known.grants.filter((grant) => grant.tenant === tenant)
  const roles = [...new Set(grants.map(({ role }) => role))]
  // Who is known has a grant.
  const tenants = tenantsOf(known) as [string, ...string[]]
  return { principal: { name: known.name, tenants, roles }, tenant, permissions: permissionsOf(grants, known.scopes) }
}

export function tenantsOf({ grants }: Pick<Known, 'grants'>): string[] {
  return [...new Set(grants.map(({ tenant }) => tenant))]
}
