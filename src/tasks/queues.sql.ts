import { type Insertable, type Selectable, sql } from 'kysely'
import type { Queues } from '../contract/queue.ts'
import type { Transaction } from '../database/database.ts'
import type { LimitsTable, PausesTable } from '../database/tables.ts'

type Depth = Omit<Queues['items'][number], 'paused'>

export async function selectDepths(tx: Transaction, tenant: string): Promise<Depth[]> {
  const { rows } = await sql<Depth>`
    select * from sluice.queue_depths(${tenant})`.execute(tx)
  return rows
}

export function selectPauses(tx: Transaction, tenant: string): Promise<Selectable<PausesTable>[]> {
  return tx.selectFrom('pauses').selectAll().where('tenant_id', 'in', ['', tenant]).execute()
}

/** The tenant's own, and those of the platform that concern it. */
export function selectLimits(tx: Transaction): Promise<Selectable<LimitsTable>[]> {
  return tx.selectFrom('limits').selectAll().orderBy('scope').orderBy('key').orderBy('tenant_id').execute()
}

/** Binds the rest of the transaction to a tenant: what the platform does is told in the platform's own log. */
export async function bindToTenant(tx: Transaction, tenant: string): Promise<void> {
  await sql`select set_config('sluice.tenant', ${tenant}, true)`.execute(tx)
}

export async function upsertPause(tx: Transaction, pause: Omit<Selectable<PausesTable>, 'paused_at'>): Promise<void> {
  const { paused_by, reason } = pause
  await tx
    .insertInto('pauses')
    .values(pause)
    .onConflict((conflict) => conflict.columns(['tenant_id', 'operation']).doUpdateSet({ paused_by, reason }))
    .execute()
}

export async function deletePause(tx: Transaction, tenant: string, operation: string): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('pauses')
    .where('tenant_id', '=', tenant)
    .where('operation', '=', operation)
    .executeTakeFirst()
  return numDeletedRows > 0n
}

/** A limit that is set anew begins with its whole burst. */
export function upsertLimit(
  tx: Transaction,
  limit: Omit<Insertable<LimitsTable>, 'tokens' | 'refilled_at'>,
): Promise<Selectable<LimitsTable>> {
  const { tenant_id, scope, key, ...fields } = limit
  return tx
    .insertInto('limits')
    .values({ tenant_id, scope, key, ...fields, tokens: limit.burst })
    .onConflict((conflict) =>
      conflict.columns(['tenant_id', 'scope', 'key']).doUpdateSet({ ...fields, tokens: limit.burst }),
    )
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function deleteLimit(
  tx: Transaction,
  limit: Pick<Selectable<LimitsTable>, 'tenant_id' | 'scope' | 'key'>,
): Promise<boolean> {
  const { numDeletedRows } = await tx
    .deleteFrom('limits')
    .where('tenant_id', '=', limit.tenant_id)
    .where('scope', '=', limit.scope)
    .where('key', '=', limit.key)
    .executeTakeFirst()
  return numDeletedRows > 0n
}

export function selectWorkers(tx: Transaction) {
  return tx
    .selectFrom('workers')
    .selectAll()
    .select(sql<boolean>`heartbeat_at > clock_timestamp() - interval '15 seconds'`.as('alive'))
    .orderBy('started_at')
    .execute()
}
