import type { Selectable } from 'kysely'
import type { Limit, Queues, Worker } from '../contract/queue.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { LimitsTable, PausesTable, WorkersTable } from '../database/tables.ts'
import { appendEvent } from './append-event.sql.ts'
import {
  bindToTenant,
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
  /** For every tenant: what is set so is seen by all, and changed by the platform alone. @default for the tenant itself */
  readonly platform?: boolean
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
      limits: limits.map(toLimit),
      next_page_token: null,
    }
  })
}

/**
 * Changes what is set for the tenant, or for every tenant, and tells it in the log. Without a tenant a transaction of the
 * API writes what is the platform's, and nothing else.
 */
const change = <T>(scope: QueueScope, work: (tx: Transaction, setFor: string) => Promise<T>): Promise<T> =>
  scope.platform === true
    ? scope.database.transaction({ role: 'sluice_api' }, (tx) => work(tx, ''))
    : inTenant(scope, (tx) => work(tx, scope.tenant))

/** No attempt of the operation (of any, without one) starts from now on; what runs goes on. */
export function pauseQueue(
  scope: QueueScope,
  pause: { readonly operation?: string | undefined; readonly reason?: string | undefined },
): Promise<void> {
  return change(scope, async (tx, setFor) => {
    const reason = pause.reason ?? null
    await upsertPause(tx, { tenant_id: setFor, operation: pause.operation ?? '', paused_by: scope.actor, reason })
    await note(tx, scope, {
      type: 'queue.paused',
      data: { ...where(scope), operation: pause.operation ?? null, reason },
    })
  })
}

/** Takes a pause away. Held jobs start within a second. False when there was none. */
export function resumeQueue(scope: QueueScope, operation: string | undefined): Promise<boolean> {
  return change(scope, async (tx, setFor) => {
    if (!(await deletePause(tx, setFor, operation ?? ''))) return false
    await note(tx, scope, { type: 'queue.resumed', data: { ...where(scope), operation: operation ?? null } })
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

/** Holds from the next start on; what runs goes on. A tenant's own limit counts that tenant's tasks only. */
export function setLimit(scope: QueueScope, limit: NewLimit): Promise<Limit> {
  return change(scope, async (tx, setFor) => {
    const row = await upsertLimit(tx, {
      tenant_id: setFor,
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
  return change(scope, async (tx, setFor) => {
    if (!(await deleteLimit(tx, { tenant_id: setFor, scope: limit.scope, key: limit.key }))) return false
    await note(tx, scope, { type: 'limit.removed', data: { ...where(scope), scope: limit.scope, key: limit.key } })
    return true
  })
}

const where = (scope: QueueScope) => ({ platform: scope.platform === true })

/** Every process that takes jobs, and those that stopped answering within the last hour. */
export function listWorkers(database: Database, tenant: string): Promise<Worker[]> {
  return inTenant({ database, tenant }, async (tx) => (await selectWorkers(tx)).map(toWorker))
}

function toPause(row: Selectable<PausesTable>): Queues['pauses'][number] {
  return {
    platform: row.tenant_id === '',
    operation: row.operation === '' ? null : row.operation,
    paused_by: row.paused_by,
    reason: row.reason,
    paused_at: row.paused_at.toISOString(),
  }
}

function toLimit({ tenant_id, scope, key, max_running, per_minute, burst, set_by }: Selectable<LimitsTable>): Limit {
  return { platform: tenant_id === '', scope, key, max_running, per_minute, burst, set_by }
}

function toWorker(row: Selectable<WorkersTable> & { readonly alive: boolean }): Worker {
  const { started_at, heartbeat_at, ...worker } = row
  return { ...worker, started_at: started_at.toISOString(), heartbeat_at: heartbeat_at.toISOString() }
}

async function note(
  tx: Transaction,
  scope: QueueScope,
  event: { type: string; data: Record<string, unknown> },
): Promise<void> {
  if (scope.platform === true) await bindToTenant(tx, scope.tenant)
  return appendEvent(tx, { taskId: null, actor: scope.actor, ...event })
}
