import { v7 as uuidv7 } from 'uuid'
import { toWireId } from '../contract/ids.ts'
import { type Batch, type BatchStatus } from '../contract/batch.ts'
import { isTerminal, taskStatuses, type TaskStatus } from '../contract/task-status.ts'
import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Instruments } from '../metrics/instruments.ts'
import type { Operation } from '../operations/define-operation.ts'
import type { FeatureFlags } from '../platform/feature-flags.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { Queue } from '../queue/queue.ts'
import { type AcceptRequest, insertJobs, isRace, ownedInputs, toAcceptRow } from './accept-task.ts'
import { type AcceptOutcome, acceptTasks } from './accept-tasks.sql.ts'
import { type BatchRow, failedOf, insertBatch, selectBatch, selectBatches } from './batch.sql.ts'
import { pageToken, readPageToken } from './find-tasks.ts'
import type { Gate, JudgedRow } from './gate.ts'
import type { Places } from './places.ts'
import { offReason, type PinnedFlags, pinFlags } from './pin-flags.ts'
import { openRequests, type RetryRequest, type RetryTaskOptions, toRetry } from './retry-task.ts'
import { keepTaskSecrets } from './secret-input.ts'
import { openSharedTickets, shareTickets } from './share-tickets.ts'
import { basePath } from './task-view.ts'

export interface AcceptBatchOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  /** The policy at the door. Without it nothing needs an approval. */
  readonly gate?: Gate | undefined
  readonly featureFlags?: FeatureFlags
  readonly instruments?: Instruments
  readonly tracer?: Tracer
  readonly secrets?: SecretBox | undefined
  /** As of `TaskAcceptorOptions`. */
  readonly places?: Places | undefined
}

export interface BatchRequest {
  readonly items: readonly AcceptRequest[]
  readonly tenant: string
  readonly actor: string
  readonly onError: 'continue' | 'stop'
  /** Items under way at once; no limit by default. */
  readonly concurrency?: number
  /** The batch whose failed items these are. */
  readonly retryOf?: string
}

/** Some items cannot be accepted beside the others, or beside what is under way: nothing was written. */
export class BatchRefusedError extends Error {
  readonly code = 'batch_refused'
  readonly errors: readonly { readonly index: number; readonly message: string }[]
  constructor(errors: readonly { readonly index: number; readonly message: string }[]) {
    super(`${errors.length} items cannot be accepted; nothing was written`)
    this.errors = errors
  }
}

/**
 * Accepts all items and their batch in one transaction, or nothing. Throws `BatchRefusedError` that names every item that
 * is in the way of another task.
 */
export function acceptBatch(options: AcceptBatchOptions, request: BatchRequest): Promise<BatchRow> {
  const { tracer } = options
  if (!tracer) return acceptItems(options, request)
  return tracer.withSpan('accept batch', ({ traceparent }) => acceptItems(options, request, traceparent), {
    kind: 'producer',
    attributes: { 'sluice.batch.total': request.items.length },
  })
}

async function acceptItems(
  options: AcceptBatchOptions,
  request: BatchRequest,
  traceparent?: string,
): Promise<BatchRow> {
  const began = performance.now()
  const batchId = uuidv7()
  const common = { batchId, ...(traceparent !== undefined && { traceparent }) }
  const items = await pinItems(options.featureFlags, request.items)
  const group = items.map((item) => ({
    request: item,
    row: toAcceptRow({ ...item, ...common }, options.places),
  }))
  for (let tries = 0; ; tries++) {
    try {
      const { batch, kinds } = await options.database.transaction(
        { role: 'sluice_api', tenant: request.tenant },
        async (tx) => {
          const judged: readonly JudgedRow[] = options.gate ? await options.gate.judge(tx, group) : group
          const shared = shareTickets(judged)
          const rows = shared.rows.map(({ row }, idx) => ({ ...row, idx }))
          const accepted = await acceptTasks(tx, rows)
          refuse(
            accepted.flatMap((one) =>
              one.outcome === 'accepted' ? [] : [{ index: one.idx, message: refusal(one, judged[one.idx]?.reason) }],
            ),
          )
          await keepTaskSecrets(tx, options.secrets, ownedInputs(group, accepted))
          const counts: Partial<Record<TaskStatus, number>> = {}
          for (const { status } of accepted) counts[status] = (counts[status] ?? 0) + 1
          const batch = await insertBatch(tx, { ...request, batchId, counts })
          if (options.gate) {
            const { strictestEnvironment } = options.gate.active().policy
            const opening = { ...shared, batchId, actor: request.actor, strictestEnvironment }
            const tooMany = await openSharedTickets(tx, opening)
            refuse(tooMany.map((index) => ({ index, message: tooManyTickets })))
          }
          return { batch, kinds: await insertJobs(tx, options.queue, { rows, accepted }) }
        },
      )
      options.signals.send(...kinds, 'events')
      const seconds = (performance.now() - began) / 1000
      for (const { operation } of items)
        options.instruments?.accepted({ operation: operation.type, outcome: 'accepted', seconds })
      return batch
    } catch (error) {
      if (!isRace(error) || tries >= 3) throw error
    }
  }
}

async function pinItems(
  featureFlags: FeatureFlags | undefined,
  items: readonly AcceptRequest[],
): Promise<AcceptRequest[]> {
  // All items are one caller's: what an operation's flags are is asked once.
  const pinned = new Map<Operation, PinnedFlags>()
  for (const item of items) {
    if (!pinned.has(item.operation)) pinned.set(item.operation, await pinFlags(featureFlags, item))
  }
  refuse(
    items.flatMap(({ operation }, index) => {
      const off = pinned.get(operation)?.off
      return off === undefined ? [] : [{ index, message: offReason(operation.type, off) }]
    }),
  )
  return items.map((item) => {
    const flags = pinned.get(item.operation)
    return { ...item, ...(flags && { flags }) }
  })
}

function refuse(errors: BatchRefusedError['errors']): void {
  if (errors.length > 0) throw new BatchRefusedError(errors.toSorted((a, b) => a.index - b.index))
}

const tooManyTickets = 'needs an approval, and as many tickets are open as the policy allows'

function refusal({ outcome, task_id, status }: AcceptOutcome, reason: string | undefined): string {
  switch (outcome) {
    case 'accepted':
    case 'joined':
    case 'replayed':
    case 'key_reused':
    case 'conflict':
      return `is in the way of ${toWireId('task', task_id)}, which is ${status}`
    case 'denied':
    case 'unconfirmed':
      return reason ?? 'is refused by the policy'
    case 'tickets_of_requester':
    case 'tickets_of_tenant':
      return tooManyTickets
    case 'over_quota':
      return 'is one more than a quota of the tenant allows'
  }
}

export function findBatch(database: Database, tenant: string, batchId: string): Promise<BatchRow | undefined> {
  return database.transaction({ role: 'sluice_api', tenant }, (tx) => selectBatch(tx, batchId))
}

/** Newest first. */
export function listBatches(
  database: Database,
  tenant: string,
  page: { readonly size: number; readonly token?: string | undefined },
): Promise<{ rows: BatchRow[]; nextPageToken: string | null }> {
  const after = page.token === undefined ? undefined : readPageToken(page.token)
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const rows = await selectBatches(tx, { tenant, after, limit: page.size + 1 })
    const last = rows[page.size - 1]
    return {
      rows: rows.slice(0, page.size),
      nextPageToken: rows.length > page.size && last ? pageToken(last.batch_id) : null,
    }
  })
}

/** The failed items of a batch, as requests that try them again. What was cancelled was meant to end. */
export async function failedItems(
  options: RetryTaskOptions,
  request: Omit<RetryRequest, 'taskId'> & { readonly batchId: string },
): Promise<AcceptRequest[]> {
  const { tenant, batchId } = request
  const found = await options.database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const failed = await failedOf(tx, batchId)
    return failed.length === 0 ? [] : openRequests(tx, options, { tenant, taskIds: failed })
  })
  return found.map((one) => toRetry(options.operations, one, request))
}

/** A row as it travels. */
export function toBatch(row: BatchRow): Batch {
  const self = `${basePath}/batches/${toWireId('batch', row.batch_id)}`
  return {
    batch_id: toWireId('batch', row.batch_id),
    status: batchStatus(row),
    requested_by: row.requested_by,
    on_error: row.on_error,
    concurrency: row.concurrency,
    total: row.total,
    counts: Object.fromEntries(
      taskStatuses.map((status) => [status, row.counts[status] ?? 0] as const),
    ) as Batch['counts'],
    retry_of: row.retry_of && toWireId('batch', row.retry_of),
    created_at: row.created_at.toISOString(),
    completed_at: row.completed_at?.toISOString() ?? null,
    links: {
      self,
      cancel: `${self}/cancel`,
      retry: `${self}/retry`,
      tasks: `${basePath}/tasks?batch_id=${toWireId('batch', row.batch_id)}`,
    },
  }
}

// A rejected or expired item counts as failed.
export function batchStatus({ counts, total }: Pick<BatchRow, 'counts' | 'total'>): BatchStatus {
  const n = (...statuses: readonly TaskStatus[]) => statuses.reduce((sum, status) => sum + (counts[status] ?? 0), 0)
  if (n(...taskStatuses.filter(isTerminal)) < total) {
    return n('AWAITING_APPROVAL', 'SCHEDULED', 'PENDING') === total ? 'PENDING' : 'RUNNING'
  }
  if (n('COMPLETED') === total) return 'COMPLETED'
  if (n('COMPLETED') > 0) return 'PARTIALLY_COMPLETED'
  return n('CANCELLED') === total ? 'CANCELLED' : 'FAILED'
}
