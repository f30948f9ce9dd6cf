import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'
import { sourceField } from '../database/request-source.ts'

/** Tells a tenant's log that its secrets are under another key. */
export async function appendRotation(
  tx: Transaction,
  { tenant, data }: { readonly tenant: string; readonly data: Record<string, unknown> },
): Promise<void> {
  await sql`insert into sluice.domain_events (tenant_id, type, actor, payload)
    values (${tenant}, 'secrets.rotated', 'sluice secrets rotate', ${JSON.stringify({ ...data, ...sourceField() })}::jsonb)`.execute(
    tx,
  )
}
