import { createDatabase } from '../../database/database.ts'
import { grantRole } from '../../identity/role-bindings.ts'
import { demoGroupRoles } from './demo-users.ts'

/** Gives the demo's groups their roles in the tenant `default`. */
export async function bindDemoRoles(databaseUrl: string): Promise<void> {
  const database = createDatabase({ url: databaseUrl, poolMax: 1, poolMin: 0 })
  try {
    for (const { group, role } of demoGroupRoles) {
      await grantRole(database, { tenant: 'default', group, role, actor: 'sluice start --demo' })
    }
  } finally {
    await database.stop()
  }
}
