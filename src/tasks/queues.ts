import type { Selectable } from 'kysely'
import type { Limit, Queues, Worker } from '../contract/queue.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { PausesTable, WorkersTable } from '../database/tables.ts'
import { appendEvent } from './append-event.sql.ts'
import {
  deleteLimit,
  deletePause,
  selectDepths,
  selectLimits,
  selectPauses,
  selectWorkers,
  upsertLimit,
  upsertPause,
} from './queues.sql.ts'

export interface QueueScope {
  readonly database: Database
  readonly tenant: string
  readonly actor: string
}

const inTenant = <T>(
  { database, tenant }: Omit<QueueScope, 'actor'>,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> => database.transaction({ role: 'sluice_api', tenant }, work)

/** How much waits and runs in a tenant, per operation, what is paused, and which limits there are. */
export function readQueues(database: Database, tenant: string): Promise<Queues> {
  return inTenant({ database, tenant }, async (tx) => {
    const rows = await selectDepths(tx, tenant)
    const pauses = await selectPauses(tx, tenant)
    const limits = await selectLimits(tx)
    return {
      items: rows.map((row) => ({
        ...row,
        paused: pauses.some(({ operation }) => operation === '' || operation === row.operation),
      })),
      pauses: pauses.map(toPause),
      // A tenant's limit is that tenant's business.
      limits: limits.filter(({ scope, key }) => scope !== 'tenant' || key === tenant).map(toLimit),
      next_page_token: null,
    }
  })
}

/** No attempt of the operation (of any, without one) starts in the tenant from now on; what runs goes on. */
export function pauseQueue(
  scope: QueueScope,
  pause: { readonly operation?: string | undefined; readonly reason?: string | undefined },
): Promise<void> {
  return inTenant(scope, async (tx) => {
    const reason = pause.reason ?? null
    await upsertPause(tx, { tenant_id: scope.tenant, operation: pause.operation ?? '', paused_by: scope.actor, reason })
    await note(tx, scope, { type: 'queue.paused', data: { operation: pause.operation ?? null, reason } })
  })
}

/** Takes a pause away. Held jobs start within a second. False when there was none. */
export function resumeQueue(scope: QueueScope, operation: string | undefined): Promise<boolean> {
  return inTenant(scope, async (tx) => {
    if (!(await deletePause(tx, scope.tenant, operation ?? ''))) return false
    await note(tx, scope, { type: 'queue.resumed', data: { operation: operation ?? null } })
    return true
  })
}

export interface NewLimit {
  readonly scope: Limit['scope']
  readonly key: string
  readonly maxRunning: number | null
  readonly perMinute: number | null
  readonly burst: number
}

/** Holds from the next start on; what runs goes on. */
export function setLimit(scope: QueueScope, limit: NewLimit): Promise<Limit> {
  return inTenant(scope, async (tx) => {
    const row = await upsertLimit(tx, {
      scope: limit.scope,
      key: limit.key,
      max_running: limit.maxRunning,
      per_minute: limit.perMinute,
      burst: limit.burst,
      set_by: scope.actor,
    })
    await note(tx, scope, { type: 'limit.set', data: { ...toLimit(row) } })
    return toLimit(row)
  })
}

/** False when there was none. */
export function removeLimit(scope: QueueScope, limit: Pick<NewLimit, 'scope' | 'key'>): Promise<boolean> {
  return inTenant(scope, async (tx) => {
    if (!(await deleteLimit(tx, limit))) return false
    await note(tx, scope, { type: 'limit.removed', data: { scope: limit.scope, key: limit.key } })
    return true
  })
}

/** Every process that takes jobs, and those that stopped answering within the last hour. */
export function listWorkers(database: Database, tenant: string): Promise<Worker[]> {
  return inTenant({ database, tenant }, async (tx) => (await selectWorkers(tx)).map(toWorker))
}

function toPause(row: Selectable<PausesTable>): Queues['pauses'][number] {
  return {
    operation: row.operation === '' ? null : row.operation,
    paused_by: row.paused_by,
    reason: row.reason,
    paused_at: row.paused_at.toISOString(),
  }
}

function toLimit({ scope, key, max_running, per_minute, burst, set_by }: Limit): Limit {
  return { scope, key, max_running, per_minute, burst, set_by }
}

function toWorker(row: Selectable<WorkersTable> & { readonly alive: boolean }): Worker {
  const { started_at, heartbeat_at, ...worker } = row
  return { ...worker, started_at: started_at.toISOString(), heartbeat_at: heartbeat_at.toISOString() }
}

function note(
  tx: Transaction,
  scope: QueueScope,
  event: { type: string; data: Record<string, unknown> },
): Promise<void> {
  return appendEvent(tx, { taskId: null, actor: scope.actor, ...event })
}
