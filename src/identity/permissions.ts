import { type Permission, permissions, type Role } from '../contract/identity.ts'
import type { Grant } from './principal.ts'

const reading = [
  'self',
  'tasks.read',
  'operations.read',
  'resources.read',
  'approvals.read',
  'policies.read',
  'notifications.read',
  'schedules.read',
  'queues.read',
] as const satisfies readonly Permission[]

const requesting = [
  ...reading,
  'tasks.request',
  'tasks.cancel',
  'notifications.write',
  'schedules.write',
  'tokens.read',
  'tokens.write',
] as const satisfies readonly Permission[]

/** What each role allows. A principal of several roles may do what any of them allows. */
const rolePermissions: Readonly<Record<Role, readonly Permission[]>> = {
  viewer: reading,
  requester: requesting,
  operator: [...requesting, 'tasks.operate', 'schedules.operate', 'queues.operate'],
  approver: [...requesting, 'approvals.decide'],
  admin: permissions.filter((permission) => permission !== 'platform.operate'),
}

/** What the same roles allow besides in the tenant of those who run the platform. */
const platformPermissions: Readonly<Record<Role, readonly Permission[]>> = {
  viewer: [],
  requester: [],
  operator: ['platform.operate'],
  approver: [],
  admin: ['platform.operate'],
}

/**
 * What a role allows that holds in some environments only: changes there, and what reaches nobody else. What is about the
 * whole tenant needs a role that holds everywhere.
 */
const limitable: ReadonlySet<Permission> = new Set([...requesting, 'tasks.operate', 'approvals.decide'])

/** Of a role that holds everywhere; nothing of what is no role. */
export function permissionsOfRole(role: string): readonly Permission[] {
  const known: Readonly<Partial<Record<string, readonly Permission[]>>> = rolePermissions
  return known[role] ?? []
}

/** What the grants of one tenant allow, narrowed to a token's scopes. `self` belongs to every scope. */
export function permissionsOf(
  grants: readonly Pick<Grant, 'role' | 'platform' | 'environments'>[],
  scopes?: readonly string[],
): ReadonlySet<Permission> {
  const allowed = grants.flatMap(({ role, platform, environments }) => {
    const all = [...rolePermissions[role], ...(platform === true ? platformPermissions[role] : [])]
    return environments ? all.filter((permission) => limitable.has(permission)) : all
  })
  return new Set(
    scopes ? allowed.filter((permission) => permission === 'self' || scopes.includes(permission)) : allowed,
  )
}
