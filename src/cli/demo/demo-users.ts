import type { Role } from '../../contract/identity.ts'

export interface DemoUser {
  /** Its name at the provider, and so as a principal. */
  readonly name: string
  readonly title: string
  readonly groups: readonly string[]
}

/** Who can be signed in as: for each role somebody whose group has it. */
export const demoUsers: readonly DemoUser[] = [
  { name: 'vera', title: 'Vera, who looks on', groups: ['demo-viewers'] },
  { name: 'rita', title: 'Rita, who asks for changes', groups: ['demo-requesters'] },
  { name: 'otto', title: 'Otto, who operates', groups: ['demo-operators'] },
  { name: 'anna', title: 'Anna, who approves', groups: ['demo-approvers'] },
  { name: 'adam', title: 'Adam, who administers', groups: ['demo-admins'] },
]

/** What `sluice start --demo` binds in the tenant `default`. */
export const demoGroupRoles: readonly { readonly group: string; readonly role: Role }[] = [
  { group: 'demo-viewers', role: 'viewer' },
  { group: 'demo-requesters', role: 'requester' },
  { group: 'demo-operators', role: 'operator' },
  { group: 'demo-approvers', role: 'approver' },
  { group: 'demo-admins', role: 'admin' },
]
