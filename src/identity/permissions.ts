import { type Permission, permissions, type Role } from '../contract/identity.ts'

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
  operator: [...requesting, 'tasks.operate', 'queues.operate'],
  approver: [...requesting, 'approvals.decide'],
  admin: permissions,
}

/** What the roles allow, narrowed to a token's scopes. `self` belongs to every scope. */
export function permissionsOf(roles: readonly Role[], scopes?: readonly string[]): ReadonlySet<Permission> {
  const allowed = roles.flatMap((role) => rolePermissions[role])
  return new Set(
    scopes ? allowed.filter((permission) => permission === 'self' || scopes.includes(permission)) : allowed,
  )
}
