import type { FastifyRequest, RouteOptions } from 'fastify'
import type { Permission } from '../contract/identity.ts'
import type { Caller } from '../identity/principal.ts'
import { HttpProblem } from './problems.ts'

/** What a route asks of its caller: a permission, or nothing at all. */
export type RoutePermission = Permission | 'public'

/** A route was registered without saying who may call it: the process must not start. */
class UndeclaredPermissionError extends Error {
  readonly code = 'undeclared_permission'
  override readonly name = 'UndeclaredPermissionError'
}

/** Refuses a route without a permission as it is registered, and tells readers of the OpenAPI document what it asks. */
export function requirePermission(route: RouteOptions): void {
  const permission = route.config?.permission
  if (permission !== undefined) return
  throw new UndeclaredPermissionError(
    `${String(route.method)} ${route.url} does not say who may call it. Add config: { permission: … } to the route.`,
  )
}

export function permissionOf(request: FastifyRequest): RoutePermission {
  const { permission } = request.routeOptions.config
  // `requirePermission` has seen every route; one that slipped past it lets nobody in.
  if (permission === undefined) throw new Error(`${request.method} ${request.routeOptions.url} declares no permission`)
  return permission
}

/** Answers 403 unless one of the caller's roles in this tenant, and the token's scopes, allow what the route asks. */
export function authorise(caller: Caller, permission: Permission): void {
  if (caller.permissions.has(permission)) return
  const { name, roles } = caller.principal
  throw new HttpProblem('forbidden', {
    detail: `${name} (${roles.join(', ')}) may not do this in the tenant ${caller.tenant}: it needs the permission ${permission}. An admin gives roles; a token may have been limited to fewer permissions.`,
  })
}
