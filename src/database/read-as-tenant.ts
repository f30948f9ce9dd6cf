import type { Database, Transaction } from './database.ts'

/** Reads what one tenant may see. Any folder may call it: PostgreSQL itself refuses a write in it. */
export function readAsTenant<T>(database: Database, tenant: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
  return database.transaction({ role: 'sluice_api', tenant, readOnly: true }, work)
}
