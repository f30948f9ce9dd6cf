import { v7 as uuidv7 } from 'uuid'
import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Instruments } from '../metrics/instruments.ts'
import type { Cluster, KubernetesObject, ObjectRef } from '../kubernetes/cluster.ts'
import { ClusterRemovedError } from '../kubernetes/cluster-errors.ts'
import { conditionsOf } from '../kubernetes/readiness-presets.ts'
import { evaluateReadiness, type Readiness, type ReadinessPin } from '../kubernetes/readiness.ts'
import type { ResourceRecord } from '../operations/define-operation.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import { withLogFields } from '../platform/log-context.ts'
import type { Logger } from '../platform/logger.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { Span, Tracer } from '../platform/tracer.ts'
import type { ClaimedJob, Queue } from '../queue/queue.ts'
import type { ResultStore } from '../tasks/result-store.ts'
import { openSecrets, takeSecrets } from '../tasks/secret-input.ts'
import { withoutSecrets } from '../tasks/without-secrets.ts'
import { taskProblem, tracedProblem } from './failure.ts'
import { writeRecords } from './record.sql.ts'
import { isStale } from './run-task.ts'
import { finishJob, settleStored } from './settle.ts'
import { appendEvents, deleteWaits, type NewEvent } from './settle.sql.ts'
import { findWaits, type FinishingWait, type OpenWait, parkAgain } from './waits.sql.ts'

export interface FinishWaitOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly operations: OperationRegistry
  readonly logger: Logger
  readonly tracer: Tracer
  /** @default nobody counts */
  readonly instruments?: Instruments
  /** Where results go that are too large for a row. */
  readonly results?: ResultStore | undefined
  readonly workerId: string
  /** Opens secrets of inputs: nothing that is written may repeat them. */
  readonly secrets?: SecretBox | undefined
  /** Milliseconds that one look at the live object may take. */
  readonly lookMs: number
  cluster(tenant: string, name: string): Cluster
  /** Looks for a cluster that this process does not know yet. Without it nobody adds one. */
  expectCluster?(tenant: string, name: string): Promise<void>
  /** Explains why the object is not ready (its Pods, its warning events); best effort. */
  diagnose(wait: OpenWait, object: KubernetesObject, signal: AbortSignal): Promise<string | undefined>
}

/** What a finish job found: the end of the task, or that it must go on waiting. */
interface Finished {
  readonly wait: FinishingWait
  readonly job: ClaimedJob
  readonly end:
    | { readonly type: 'task.completed'; readonly result: Record<string, unknown> }
    | { readonly type: 'task.failed' | 'task.timed_out' | 'task.cancelled'; readonly error: object }
    | { readonly type: 'task.waiting'; readonly reason: string }
  readonly record?: ResourceRecord
  /** W3C trace context of the look. */
  readonly traceparent?: string
}

/**
 * Works a batch of finish jobs: reads each live object, decides, and records them in one transaction, or one by one
 * where the batch fails. Returns the ids to hand out again.
 */
export async function finishWaits(options: FinishWaitOptions, jobs: readonly ClaimedJob[]): Promise<readonly string[]> {
  const waits = await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
    findWaits(
      tx,
      jobs.map((job) => job.eventId),
    ),
  )
  const again: string[] = []
  const looks = waits.map(async (wait) => {
    const job = jobs.find(({ eventId }) => eventId === wait.eventId)
    if (!job) return undefined
    const found = await lookTraced(options, wait, job)
    if (!found) again.push(job.id)
    return found
  })
  const finished = (await Promise.all(looks)).filter((one) => one !== undefined)
  again.push(...(await record(options, finished)))
  return again
}

/** Undefined when the object could not be read. */
function lookTraced(options: FinishWaitOptions, wait: FinishingWait, job: ClaimedJob): Promise<Finished | undefined> {
  const id = toWireId('task', wait.taskId)
  const tryToLook = async (span: Span): Promise<Finished | undefined> => {
    try {
      const found = await hideSecrets(options, await look(options, wait, job))
      span.setAttributes({ 'sluice.outcome': found.end.type })
      options.logger.debug('wait looked at', { operation: wait.operation, outcome: found.end.type })
      return { ...found, traceparent: span.traceparent }
    } catch (error) {
      span.recordError(error)
      options.logger.warn('finish job could not read the live object; it will run again', { taskId: id, error })
      return undefined
    }
  }
  return withLogFields({ taskId: id }, () =>
    options.tracer.withSpan(`finish ${wait.operation}`, tryToLook, {
      kind: 'consumer',
      attributes: { 'sluice.task.id': id, 'sluice.attempt': wait.attempt, 'sluice.wait_ms': Math.round(wait.ageMs) },
      ...(wait.traceparent !== null && { parent: wait.traceparent }),
    }),
  )
}

async function look(options: FinishWaitOptions, wait: FinishingWait, job: ClaimedJob): Promise<Finished> {
  if (wait.cancelRequestedBy !== null)
    return { wait, job, end: { type: 'task.cancelled', error: cancelledProblem(wait) } }
  const overdue = wait.remainingMs <= 0
  // Past its deadline a task ends within seconds, however slow its cluster is.
  const signal = AbortSignal.timeout(overdue ? Math.min(options.lookMs, 3_000) : options.lookMs)
  let object: KubernetesObject | undefined
  try {
    await options.expectCluster?.(wait.tenant, wait.cluster)
    object = await options.cluster(wait.tenant, wait.cluster).get(refOf(wait), { basePath: wait.basePath, signal })
  } catch (error) {
    if (error instanceof ClusterRemovedError) {
      const detail = `${wait.kind} ${wait.name} was not ready yet. ${error.message} What was asked of the cluster goes on there.`
      return {
        wait,
        job,
        end: { type: 'task.failed', error: taskProblem({ code: error.code, detail, retryable: false }) },
      }
    }
    // The deadline is the deadline, also while the cluster is away.
    if (!overdue) throw error
    const away = `its cluster could not be read (${error instanceof Error ? error.message : String(error)})`
    const state = wait.lastReason === null ? away : `${away}; before that ${wait.lastReason}`
    return { wait, job, end: { type: 'task.timed_out', error: timedOutProblem(wait, state, '') } }
  }
  const readiness = evaluate(wait, object)
  const base = { wait, job, ...recordOf(wait, object, readiness) }
  switch (readiness.state) {
    case 'ready': {
      const made = resultOf(options, wait, object)
      const result = options.results ? await options.results.keep(wait, made) : made
      return { ...base, end: { type: 'task.completed', result } }
    }
    case 'failed':
    case 'gone':
    case 'replaced': {
      const why = object ? await explain(options, wait, object) : ''
      const { code, message } = failureOf(wait, readiness)
      const error = taskProblem({ code, detail: `${message}${why}`, retryable: false })
      return { ...base, end: { type: 'task.failed', error } }
    }
    case 'pending': {
      if (!overdue) return { ...base, end: { type: 'task.waiting', reason: readiness.reason } }
      const why = object ? await explain(options, wait, object) : ''
      const last = `${readiness.reason}${readiness.message ? `: ${readiness.message}` : ''}`
      return { ...base, end: { type: 'task.timed_out', error: timedOutProblem(wait, last, why) } }
    }
  }
}

async function hideSecrets(
  { database, operations, secrets: box }: FinishWaitOptions,
  found: Finished,
): Promise<Finished> {
  const { wait, end } = found
  const operation = operations.get(wait.operation)
  if (!operation || takeSecrets(operation, wait.input).secrets.length === 0) return found
  const owned = { owner: { tenant: wait.tenant, id: wait.taskId }, operation, input: wait.input }
  const opened = await database.transaction({ role: 'sluice_worker' }, (tx) => openSecrets(tx, box, [owned]))
  return { ...found, end: withoutSecrets(end, opened.get(wait.taskId) ?? []) }
}

function evaluate(wait: FinishingWait, object: KubernetesObject | undefined): Readiness {
  // The start of the wait stands in for when a failure was first seen: the watch counted its grace before.
  return evaluateReadiness(object, wait.rules, pinOf(wait), {
    now: wait.createdAt.getTime() + wait.ageMs,
    firstSeenAt: wait.createdAt.getTime(),
  })
}

export function pinOf(wait: OpenWait): ReadinessPin {
  const { uid, generation, resourceVersion } = wait
  return { uid: uid ?? undefined, generation: generation ?? undefined, resourceVersion: resourceVersion ?? undefined }
}

function resultOf(options: FinishWaitOptions, wait: FinishingWait, object: KubernetesObject | undefined) {
  const operation = options.operations.get(wait.operation)
  const result = operation?.finish?.(object, operation.input.parse(wait.input))
  return result ?? { name: wait.name, uid: wait.uid }
}

function failureOf(
  wait: FinishingWait,
  readiness: Exclude<Readiness, { state: 'ready' | 'pending' }>,
): { code: string; message: string } {
  const what = `${wait.kind} ${wait.name}`
  switch (readiness.state) {
    case 'failed':
      return {
        code: readiness.code,
        message: `${what} failed: ${readiness.reason}${readiness.message ? ` (${readiness.message})` : ''}.`,
      }
    case 'gone':
      return { code: 'resource_gone', message: `${what} was deleted while it was waited for.` }
    case 'replaced':
      return {
        code: 'resource_replaced',
        message: `${what} was deleted and made again by somebody else while it was waited for.`,
      }
  }
}

const explainMs = 4_000

async function explain(options: FinishWaitOptions, wait: OpenWait, object: KubernetesObject): Promise<string> {
  const signal = AbortSignal.timeout(explainMs)
  const diagnosis = await options.diagnose(wait, object, signal).catch(() => undefined)
  return diagnosis ? ` ${diagnosis}` : ''
}

function recordOf(
  wait: FinishingWait,
  object: KubernetesObject | undefined,
  readiness: Readiness,
): { record?: ResourceRecord } {
  if (readiness.state === 'replaced') return {}
  const conditions = object ? conditionsOf(object).map((condition) => ({ ...condition })) : []
  const state = object ? 'present' : 'deleted'
  const { cluster, basePath, uid } = wait
  const generation = object?.metadata.generation
  return { record: { cluster, ref: refOf(wait), basePath, uid: uid ?? undefined, generation, state, conditions } }
}

function refOf(wait: FinishingWait): ObjectRef {
  const { apiVersion, kind, namespace, name } = wait
  return { apiVersion, kind, name, ...(namespace !== null && { namespace }) }
}

async function record(options: FinishWaitOptions, finished: readonly Finished[]): Promise<string[]> {
  if (finished.length === 0) return []
  // One transaction for all, and a span for each: every task's trace shows its own end.
  const spans = finished.map(({ traceparent, wait }) =>
    options.tracer.startSpan('settle', {
      attributes: { 'sluice.task.id': toWireId('task', wait.taskId), 'sluice.batch': finished.length },
      ...(traceparent !== undefined && { parent: traceparent }),
    }),
  )
  try {
    await options.database.transaction({ role: 'sluice_worker' }, (tx) => recordAll(options, tx, finished))
    options.signals.send('events')
    if (finished.some(({ end }) => end.type === 'task.waiting')) options.signals.send('waits')
    for (const one of finished) count(options, one)
    return []
  } catch (error) {
    for (const span of spans) span.recordError(error)
    const [only] = finished
    if (finished.length === 1 && only) {
      // Somebody else finished it: nothing is left to do, and the engine ends the job.
      if (isStale(error)) return []
      options.logger.error('outcome of a wait could not be written; its finish job will run again', {
        taskId: toWireId('task', only.wait.taskId),
        traceId: spans[0]?.traceId,
        error,
      })
      return [only.job.id]
    }
    const again: string[] = []
    for (const one of finished) again.push(...(await record(options, [one])))
    return again
  } finally {
    for (const span of spans) span.end()
  }
}

function count({ instruments }: FinishWaitOptions, { wait, end }: Finished): void {
  const outcome = end.type.replace('task.', '')
  instruments?.waited({ operation: wait.operation, outcome, seconds: wait.ageMs / 1000 })
  if (end.type === 'task.waiting') return
  instruments?.finished({ operation: wait.operation, outcome, seconds: wait.taskAgeMs / 1000 })
}

async function recordAll(options: FinishWaitOptions, tx: Transaction, finished: readonly Finished[]): Promise<void> {
  const sorted = finished.toSorted((a, b) => (a.wait.taskId < b.wait.taskId ? -1 : 1))
  const events = sorted.map((one) => ({ one, event: toEvent(options, one) }))
  const written = await appendEvents(
    tx,
    events.map(({ event }) => event),
  )
  const records = sorted.flatMap(({ wait, record }) =>
    record ? [{ tenant: wait.tenant, taskId: wait.taskId, record }] : [],
  )
  await writeRecords(tx, records)
  for (const { wait, end } of sorted) if (end.type === 'task.completed') await settleStored(tx, wait, end.result)
  const ended = sorted.filter(({ end }) => end.type !== 'task.waiting')
  if (ended.length > 0)
    await deleteWaits(
      tx,
      ended.map(({ wait }) => wait.taskId),
    )
  for (const { one, event } of events) {
    if (one.end.type !== 'task.waiting') continue
    const park = Number(written.find(({ task_id }) => task_id === one.wait.taskId)?.payload['park'])
    const deadline = await parkAgain(tx, { taskId: one.wait.taskId, eventId: event.event_id, park })
    await options.queue.insert(tx, 'sluice-finish', [finishJob(event.event_id, deadline)])
  }
  // A twin ran before the deadline: the deadline's own job has nothing left to do.
  const deadlineJobs = sorted.filter(({ job, wait }) => job.id !== wait.eventId).map(({ wait }) => wait.eventId)
  if (deadlineJobs.length > 0) await options.queue.cancel(tx, 'sluice-finish', deadlineJobs)
  await options.queue.complete(
    tx,
    'sluice-finish',
    sorted.map(({ job }) => ({ id: job.id, claim: job.claim })),
  )
}

function toEvent(
  options: FinishWaitOptions,
  { wait, end, traceparent }: Finished,
): NewEvent & { readonly event_id: string } {
  const { type, ...data } = end
  const payload =
    'error' in data
      ? { error: tracedProblem(data.error, traceparent) }
      : 'reason' in data
        ? goesOn(wait, data.reason)
        : data
  return {
    event_id: uuidv7(),
    task_id: wait.taskId,
    tenant_id: wait.tenant,
    type,
    actor: options.workerId,
    payload: { attempt: wait.attempt, ...payload },
  }
}

function goesOn({ cluster, kind, namespace, name }: FinishingWait, reason: string) {
  return { waiting_for: { cluster, kind, namespace, name, reason } }
}

function timedOutProblem(wait: FinishingWait, last: string, why: string) {
  const detail = `${wait.kind} ${wait.name} was not ready at the deadline (last: ${last}).${why} What was asked of the cluster goes on there.`
  return taskProblem({ code: 'timed_out', detail, retryable: false })
}

function cancelledProblem(wait: FinishingWait) {
  const detail = `Cancelled by ${wait.cancelRequestedBy} while waiting for ${wait.kind} ${wait.name}. The change was made and goes on in cluster ${wait.cluster}.`
  return taskProblem({ code: 'cancelled', detail, retryable: false })
}
