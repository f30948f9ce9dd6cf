import type { RoleBinding } from '../contract/identity.ts'
import type { Database } from '../database/database.ts'
import { appendAudit } from './audit.sql.ts'
import {
  deleteRoleBinding,
  hasOtherAdmin,
  insertRoleBinding,
  lockAdmins,
  type NewRoleBinding,
  type RoleBindingRow,
  selectRoleBinding,
  selectRoleBindings,
} from './role-bindings.sql.ts'

/** Gives a role in the tenant; again changes nothing. */
export async function grantRole(database: Database, binding: NewRoleBinding): Promise<RoleBinding> {
  const { tenant, principal, role, actor } = binding
  const row = await database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    if (await insertRoleBinding(tx, binding)) {
      await appendAudit(tx, { type: 'role.granted', actor, data: { principal, role } })
    }
    return selectRoleBinding(tx, principal, role)
  })
  if (!row) throw new Error(`the role ${role} of ${principal} was taken again while it was given`)
  return toRoleBinding(row)
}

/** `not_bound`: the principal does not have the role. `last_admin`: nobody would be left to give roles. */
export type Withdrawal = 'withdrawn' | 'not_bound' | 'last_admin'

/** Takes a role in the tenant. */
export async function withdrawRole(
  database: Database,
  { tenant, principal, role, actor }: Omit<NewRoleBinding, 'role'> & { readonly role: string },
): Promise<Withdrawal> {
  return database.transaction({ role: 'sluice_api', tenant }, async (tx): Promise<Withdrawal> => {
    if (role === 'admin') await lockAdmins(tx)
    if (!(await selectRoleBinding(tx, principal, role))) return 'not_bound'
    if (role === 'admin' && !(await hasOtherAdmin(tx, principal))) return 'last_admin'
    if (!(await deleteRoleBinding(tx, principal, role))) return 'not_bound'
    await appendAudit(tx, { type: 'role.withdrawn', actor, data: { principal, role } })
    return 'withdrawn'
  })
}

export interface RoleBindingSelection {
  readonly tenant: string
  readonly pageSize: number
  readonly pageToken?: string | undefined
}

/** By principal, then role. The page token is the last pair of the page. */
export async function listRoleBindings(
  database: Database,
  { tenant, pageSize, pageToken }: RoleBindingSelection,
): Promise<{ readonly items: RoleBinding[]; readonly nextPageToken: string | null }> {
  const [principal, role] = pageToken?.split('/') ?? []
  const after = principal !== undefined && role !== undefined ? ([principal, role] as const) : undefined
  const rows = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    selectRoleBindings(tx, { limit: pageSize + 1, ...(after && { after }) }),
  )
  const items = rows.slice(0, pageSize).map(toRoleBinding)
  const last = items.at(-1)
  return { items, nextPageToken: rows.length > pageSize && last ? `${last.principal}/${last.role}` : null }
}

function toRoleBinding(row: RoleBindingRow): RoleBinding {
  const { principal, role, granted_by, granted_at } = row
  return { principal, role, granted_by, granted_at: granted_at.toISOString() }
}
