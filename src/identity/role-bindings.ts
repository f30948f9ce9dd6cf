import { z } from 'zod'
import type { Role, RoleBinding } from '../contract/identity.ts'
import type { Database } from '../database/database.ts'
import { RefusedError } from '../operations/define-operation.ts'
import { appendAudit } from './audit.sql.ts'
import {
  deleteRoleBinding,
  hasOtherAdmin,
  lockAdmins,
  type RoleBindingKey,
  type RoleBindingRow,
  selectRoleBinding,
  selectRoleBindings,
  type Subject,
  upsertRoleBinding,
} from './role-bindings.sql.ts'

/** Whose role it is: exactly one of the two. */
interface Bound {
  readonly principal?: string | undefined
  /** As the identity provider names it. */
  readonly group?: string | undefined
}

export interface RoleGrant extends Bound {
  readonly tenant: string
  readonly role: Role
  /** Where the role holds. @default everywhere */
  readonly environments?: readonly string[] | undefined
  readonly actor: string
}

/** Undefined: nobody would be left to give roles, since this is the last admin and would be one in some environments only. */
export async function grantRole(database: Database, grant: RoleGrant): Promise<RoleBinding | undefined> {
  const { tenant, role, actor } = grant
  const subject = subjectOf(grant)
  const environments = grant.environments ? [...new Set(grant.environments)].sort() : null
  const row = await database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    if (role === 'admin') await lockAdmins(tx)
    const standing = await selectRoleBinding(tx, subject, role)
    const limits = environments !== null && standing && isFullAdmin(standing)
    if (limits && !(await hasOtherAdmin(tx, subject.name))) return undefined
    if (await upsertRoleBinding(tx, { tenant, ...subject, role, environments, actor })) {
      await appendAudit(tx, { type: 'role.granted', actor, data: { ...named(subject), role, environments } })
    }
    const row = await selectRoleBinding(tx, subject, role)
    if (!row) throw new Error(`the role ${role} of ${subject.name} was taken again while it was given`)
    return row
  })
  return row && toRoleBinding(row)
}

/** `not_bound`: the subject does not have the role. `last_admin`: nobody would be left to give roles. */
export type Withdrawal = 'withdrawn' | 'not_bound' | 'last_admin'

/** Takes a role in the tenant. */
export async function withdrawRole(
  database: Database,
  withdrawal: Omit<RoleGrant, 'role' | 'environments'> & { readonly role: string },
): Promise<Withdrawal> {
  const { tenant, role, actor } = withdrawal
  const subject = subjectOf(withdrawal)
  return database.transaction({ role: 'sluice_api', tenant }, async (tx): Promise<Withdrawal> => {
    if (role === 'admin') await lockAdmins(tx)
    const standing = await selectRoleBinding(tx, subject, role)
    if (!standing) return 'not_bound'
    if (isFullAdmin(standing) && !(await hasOtherAdmin(tx, subject.name))) return 'last_admin'
    if (!(await deleteRoleBinding(tx, subject, role))) return 'not_bound'
    await appendAudit(tx, { type: 'role.withdrawn', actor, data: { ...named(subject), role } })
    return 'withdrawn'
  })
}

const isFullAdmin = ({ subject, role, environments }: RoleBindingRow): boolean =>
  subject === 'principal' && role === 'admin' && environments === null

export interface RoleBindingSelection {
  readonly tenant: string
  readonly pageSize: number
  readonly pageToken?: string | undefined
}

/** Groups, then principals, by name. Throws `RefusedError` on a page token that no list returned. */
export async function listRoleBindings(
  database: Database,
  { tenant, pageSize, pageToken }: RoleBindingSelection,
): Promise<{ readonly items: RoleBinding[]; readonly nextPageToken: string | null }> {
  const after = pageToken === undefined ? undefined : readPageToken(pageToken)
  const rows = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    selectRoleBindings(tx, { limit: pageSize + 1, after }),
  )
  const page = rows.slice(0, pageSize)
  const last = page.at(-1)
  return { items: page.map(toRoleBinding), nextPageToken: rows.length > pageSize && last ? toPageToken(last) : null }
}

// A group's name may hold anything.
function toPageToken({ subject, name, role }: RoleBindingRow): string {
  return Buffer.from(JSON.stringify([subject, name, role])).toString('base64url')
}

function readPageToken(token: string): RoleBindingKey {
  const refused = new RefusedError('The page token is not one that a list returned.', {
    status: 422,
    code: 'invalid_page_token',
  })
  try {
    return keySchema.parse(JSON.parse(Buffer.from(token, 'base64url').toString()))
  } catch {
    throw refused
  }
}

const keySchema = z.tuple([z.string(), z.string(), z.string()])

function subjectOf({ principal, group }: Bound): Subject {
  if (principal !== undefined && group === undefined) return { subject: 'principal', name: principal }
  if (group !== undefined && principal === undefined) return { subject: 'group', name: group }
  throw new Error('a role is bound to a principal or to a group')
}

const named = ({ subject, name }: Subject) => ({ [subject]: name })

function toRoleBinding({ subject, name, role, environments, granted_by, granted_at }: RoleBindingRow): RoleBinding {
  return {
    principal: subject === 'principal' ? name : null,
    group: subject === 'group' ? name : null,
    role,
    environments,
    granted_by,
    granted_at: granted_at.toISOString(),
  }
}
