import { permissionsOfRole } from '../identity/permissions.ts'
import type { Principal } from '../identity/principal.ts'
import { environmentsOf } from '../identity/standing.ts'

/** One of those whom notifications name, as far as the reader is one of them. */
export interface Audience {
  /** As notifications name it: `acme/role:approver`. */
  readonly recipient: string
  /** Of tickets that wait; or of everything else. */
  readonly pending: boolean
  /** Where. @default everywhere */
  readonly environments?: readonly string[]
}

/**
 * Whom a person reads for: themselves; their roles, where each holds; and of tickets that wait, their roles and groups
 * where they may decide.
 */
export function audiencesOf(tenant: string, person: Principal): Audience[] {
  const { name, roles, groups = [], limits } = person
  const decides = roles.some((role) => permissionsOfRole(role).includes('approvals.decide'))
  const decidesIn = environmentsOf(person, 'approvals.decide')
  const of = (recipient: string, pending: boolean, environments?: readonly string[]): Audience => ({
    recipient: `${tenant}/${recipient}`,
    pending,
    ...(environments && { environments }),
  })
  const deciding = [...roles.map((role) => ({ name: `role:${role}`, holdsIn: limits?.[role] })), ...groups.map(named)]
  return [
    of(`principal:${name}`, true),
    of(`principal:${name}`, false),
    ...roles.map((role) => of(`role:${role}`, false, limits?.[role])),
    ...(decides ? deciding.map((one) => of(one.name, true, both(one.holdsIn, decidesIn))) : []),
  ]
}

const named = (group: string) => ({ name: `group:${group}`, holdsIn: undefined })

function both(some?: readonly string[], others?: readonly string[]): readonly string[] | undefined {
  if (!some || !others) return some ?? others
  return some.filter((environment) => others.includes(environment))
}
