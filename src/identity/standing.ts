import type { Permission } from '../contract/identity.ts'
import { permissionsOfRole } from './permissions.ts'
import type { Grant, Principal } from './principal.ts'

/** What somebody is in a tenant, and where. */
export interface Standing {
  readonly roles: readonly string[]
  /** As the identity provider names them. @default none */
  readonly groups?: readonly string[]
  /** Where a role holds, of those that do not hold everywhere. @default all do */
  readonly limits?: RoleLimits
  /** Who may be the one that acts by this name: they have made the token for somebody else. @default nobody */
  readonly madeBy?: readonly string[]
}

export type RoleLimits = Readonly<Record<string, readonly string[]>>

export const standingOf = ({ roles, groups, limits, madeBy }: Principal): Standing => ({
  roles,
  ...(groups && { groups }),
  ...(limits && { limits }),
  ...(madeBy !== undefined && { madeBy }),
})

/** Who has a role twice has it wherever one of the two holds. */
export function limitsOf(grants: readonly Pick<Grant, 'role' | 'environments'>[]): RoleLimits | undefined {
  const limited = [...Map.groupBy(grants, ({ role }) => role)].flatMap(([role, held]) =>
    held.every(({ environments }) => environments !== undefined)
      ? [[role, [...new Set(held.flatMap(({ environments = [] }) => environments))].sort()] as const]
      : [],
  )
  return limited.length === 0 ? undefined : Object.fromEntries(limited)
}

export function rolesIn({ roles, limits }: Standing, environment: string): string[] {
  return roles.filter((role) => limits?.[role]?.includes(environment) ?? true)
}

/** Where the roles allow it. Undefined: everywhere, as far as the roles are asked. */
export function environmentsOf({ roles, limits }: Standing, permission: Permission): readonly string[] | undefined {
  if (!limits) return undefined
  const allowing = roles.filter((role) => permissionsOfRole(role).includes(permission))
  if (allowing.some((role) => limits[role] === undefined)) return undefined
  return [...new Set(allowing.flatMap((role) => limits[role] ?? []))].sort()
}

export function mayIn(standing: Standing, permission: Permission, environment: string): boolean {
  return environmentsOf(standing, permission)?.includes(environment) ?? true
}
