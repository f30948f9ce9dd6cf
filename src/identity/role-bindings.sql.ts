import { sql } from 'kysely'
import type { Role } from '../contract/identity.ts'
import type { Transaction } from '../database/database.ts'

export interface RoleBindingRow {
  readonly principal: string
  readonly role: Role
  readonly granted_by: string
  readonly granted_at: Date
}

/** Grants and withdrawals of a tenant's admins come one after the other, or two could withdraw each other. */
export async function lockAdmins(tx: Transaction): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('sluice.admins/' || current_setting('sluice.tenant'), 0))`.execute(
    tx,
  )
}

export async function hasOtherAdmin(tx: Transaction, principal: string): Promise<boolean> {
  const { rows } = await sql`select from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and role = 'admin' and principal <> ${principal} limit 1`.execute(
    tx,
  )
  return rows.length > 0
}

export interface NewRoleBinding {
  readonly tenant: string
  readonly principal: string
  readonly role: Role
  readonly actor: string
}

/** False when the principal had the role before. */
export async function insertRoleBinding(tx: Transaction, binding: NewRoleBinding): Promise<boolean> {
  const { numAffectedRows } = await sql`insert into sluice.role_bindings (tenant_id, principal, role, granted_by)
    values (${binding.tenant}, ${binding.principal}, ${binding.role}, ${binding.actor})
    on conflict do nothing`.execute(tx)
  return numAffectedRows === 1n
}

/** False when the principal did not have the role. */
export async function deleteRoleBinding(tx: Transaction, principal: string, role: string): Promise<boolean> {
  const { numAffectedRows } = await sql`delete from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and principal = ${principal} and role = ${role}`.execute(tx)
  return numAffectedRows === 1n
}

export async function selectRoleBinding(
  tx: Transaction,
  principal: string,
  role: string,
): Promise<RoleBindingRow | undefined> {
  const { rows } = await sql<RoleBindingRow>`select principal, role, granted_by, granted_at from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and principal = ${principal} and role = ${role}`.execute(tx)
  return rows[0]
}

/** Of the transaction's tenant, by principal and role, after the pair that a page ended with. */
export async function selectRoleBindings(
  tx: Transaction,
  page: { readonly after?: readonly [string, string]; readonly limit: number },
): Promise<RoleBindingRow[]> {
  const [principal, role] = page.after ?? ['', '']
  const { rows } = await sql<RoleBindingRow>`select principal, role, granted_by, granted_at from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and (principal, role) > (${principal}, ${role})
    order by principal, role limit ${page.limit}`.execute(tx)
  return rows
}
