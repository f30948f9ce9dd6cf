import type { Transaction } from '../database/database.ts'

/** Whether the tenant's records know the object. */
export async function isRecorded(tx: Transaction, tenant: string, uid: string): Promise<boolean> {
  const row = await tx
    .selectFrom('resources')
    .select('uid')
    .where('tenant_id', '=', tenant)
    .where('uid', '=', uid)
    .executeTakeFirst()
  return row !== undefined
}
