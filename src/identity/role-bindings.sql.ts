import { sql } from 'kysely'
import type { Role } from '../contract/identity.ts'
import type { Transaction } from '../database/database.ts'

/** Who has a role: a principal, or everybody of a group. */
export interface Subject {
  readonly subject: 'principal' | 'group'
  readonly name: string
}

export interface RoleBindingRow extends Subject {
  readonly role: Role
  /** Null: everywhere. */
  readonly environments: string[] | null
  readonly granted_by: string
  readonly granted_at: Date
}

const columns = sql.raw('subject, principal as name, role, environments, granted_by, granted_at')

/** Grants and withdrawals of a tenant's admins come one after the other, or two could withdraw each other. */
export async function lockAdmins(tx: Transaction): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('sluice.admins/' || current_setting('sluice.tenant'), 0))`.execute(
    tx,
  )
}

/** Somebody else who is admin by name and everywhere: a group may be empty, and a limited admin gives no roles. */
export async function hasOtherAdmin(tx: Transaction, principal: string): Promise<boolean> {
  const { rows } = await sql`select from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and subject = 'principal' and role = 'admin'
      and environments is null and principal <> ${principal} limit 1`.execute(tx)
  return rows.length > 0
}

export interface NewRoleBinding extends Subject {
  readonly tenant: string
  readonly role: Role
  readonly environments: readonly string[] | null
  readonly actor: string
}

/** Gives a role, or changes where it holds. False when it was just so before. */
export async function upsertRoleBinding(tx: Transaction, binding: NewRoleBinding): Promise<boolean> {
  const { tenant, subject, name, role, environments, actor } = binding
  const { numAffectedRows } = await sql`
    insert into sluice.role_bindings as b (tenant_id, subject, principal, role, environments, granted_by)
    values (${tenant}, ${subject}, ${name}, ${role}, ${environments}::text[], ${actor})
    on conflict (tenant_id, subject, principal, role) do update set environments = excluded.environments,
      granted_by = excluded.granted_by, granted_at = clock_timestamp()
    where b.environments is distinct from excluded.environments`.execute(tx)
  return numAffectedRows === 1n
}

/** False when the subject did not have the role. */
export async function deleteRoleBinding(tx: Transaction, { subject, name }: Subject, role: string): Promise<boolean> {
  const { numAffectedRows } = await sql`delete from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and subject = ${subject} and principal = ${name}
      and role = ${role}`.execute(tx)
  return numAffectedRows === 1n
}

export async function selectRoleBinding(
  tx: Transaction,
  { subject, name }: Subject,
  role: string,
): Promise<RoleBindingRow | undefined> {
  const { rows } = await sql<RoleBindingRow>`select ${columns} from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and subject = ${subject} and principal = ${name}
      and role = ${role}`.execute(tx)
  return rows[0]
}

/** What a page ended with. */
export type RoleBindingKey = readonly [subject: string, name: string, role: string]

/** Of the transaction's tenant: groups, then principals, each by name and role. */
export async function selectRoleBindings(
  tx: Transaction,
  page: { readonly after?: RoleBindingKey | undefined; readonly limit: number },
): Promise<RoleBindingRow[]> {
  const [subject, name, role] = page.after ?? ['', '', '']
  const { rows } = await sql<RoleBindingRow>`select ${columns} from sluice.role_bindings
    where tenant_id = current_setting('sluice.tenant') and (subject, principal, role) > (${subject}, ${name}, ${role})
    order by subject, principal, role limit ${page.limit}`.execute(tx)
  return rows
}
