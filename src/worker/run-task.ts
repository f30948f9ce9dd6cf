import { toWireId } from '../contract/ids.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { Instruments } from '../metrics/instruments.ts'
import type { Cluster } from '../kubernetes/cluster.ts'
import { tenantHub } from '../kubernetes/tenant-hub.ts'
import type { WatchHub } from '../kubernetes/watch-hub.ts'
import type { Operation, PerformContext, Progress } from '../operations/define-operation.ts'
import { PermanentError } from '../operations/errors.ts'
import type { OperationRegistry } from '../operations/registry.ts'
import { withLogFields } from '../platform/log-context.ts'
import type { Logger } from '../platform/logger.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { Span, Tracer } from '../platform/tracer.ts'
import { type ClaimedJob, LostClaimError, type Queue, type QueueName } from '../queue/queue.ts'
import type { ResultStore } from '../tasks/result-store.ts'
import { type InputSecret, openSecrets, putSecrets, takeSecrets } from '../tasks/secret-input.ts'
import { withoutSecrets } from '../tasks/without-secrets.ts'
import type { AttemptAborted } from './abort-reason.ts'
import { type Attempt, type HeldJob, startAttempts } from './attempt.sql.ts'
import { backoffMs, taskProblem, toFailure } from './failure.ts'
import type { Outcome } from './outcome.ts'
import { runningRecord } from './running-record.ts'
import type { RunningAttempts } from './running-attempts.ts'
import type { SettledAttempt, Settler } from './settle.ts'

export interface RunTaskOptions {
  readonly database: Database
  readonly queue: Queue
  readonly operations: OperationRegistry
  readonly settler: Settler
  readonly running: RunningAttempts
  readonly logger: Logger
  readonly tracer: Tracer
  /** @default nobody counts */
  readonly instruments?: Instruments
  /** Where results go that are too large for a row. */
  readonly results?: ResultStore | undefined
  readonly workerId: string
  /** Opens secrets of inputs. */
  readonly secrets?: SecretBox | undefined
  readonly random: () => number
  /** Milliseconds that a handler gets to end after its signal fired, before its outcome is written without it. */
  readonly graceMs: number
  cluster(tenant: string, name: string): Cluster
  readonly hub: WatchHub
  /** What the circuit breaker and the hub call the same: tenants know different clusters by one name. */
  clusterKey(tenant: string, name: string): string
  /** Looks for a cluster that this process does not know yet. Without it nobody adds one. */
  expectCluster?(tenant: string, name: string): Promise<void>
  /** Called for each progress report; writes it in its own time. */
  onProgress(attempt: SettledAttempt, progress: Progress): void
  /** Called when an attempt turns out to be somebody else's now. */
  onLost(attempt: SettledAttempt): void
  /** Called after `task.started` has been committed. */
  onStarted(): void
  /** Called when a job was taken that may not start now. */
  onHeld(): void
}

/** Starts a batch of claimed jobs, and runs and settles each on its own. Returns the ids to hand out again. */
export async function runTasks(
  options: RunTaskOptions,
  queue: QueueName,
  jobs: readonly ClaimedJob[],
): Promise<readonly string[]> {
  const attempts = await startAll(options, queue, jobs)
  options.onStarted()
  const again = await Promise.all(
    attempts.map(async (attempt) => {
      const job = jobs.find(({ id }) => id === attempt.taskId)
      if (!job) return undefined
      return (await runOne(options, { queue, job, attempt })) ? undefined : job.id
    }),
  )
  return again.filter((id) => id !== undefined)
}

async function startAll(
  options: RunTaskOptions,
  queue: QueueName,
  jobs: readonly ClaimedJob[],
): Promise<readonly Attempt[]> {
  const start = (claimed: readonly ClaimedJob[]) =>
    options.database.transaction({ role: 'sluice_worker' }, async (tx) => {
      const { started, held } = await startAttempts(
        tx,
        claimed.map(({ id, eventId, claim }) => ({ task_id: id, event_id: eventId, claim })),
        options.workerId,
      )
      for (const hold of held) await giveBack(options, tx, { queue, jobs: claimed, hold })
      return started
    })
  try {
    return await start(jobs)
  } catch (error) {
    // One of them ended between the look and the insert: each is tried alone, and that one is left out.
    if (jobs.length === 1) {
      if (isStale(error)) return []
      throw error
    }
    const attempts: Attempt[] = []
    for (const job of jobs) attempts.push(...(await startAll(options, queue, [job])))
    return attempts
  }
}

// Unburned, and without an event: the task waits as before, and `holds` says why.
async function giveBack(
  options: RunTaskOptions,
  tx: Transaction,
  held: { queue: QueueName; jobs: readonly ClaimedJob[]; hold: HeldJob },
): Promise<void> {
  const job = held.jobs.find(({ id }) => id === held.hold.taskId)
  if (!job) return
  await options.queue.retry(tx, held.queue, job, { retryInMs: held.hold.heldMs, burn: false })
  options.onHeld()
}

interface Run {
  readonly queue: QueueName
  readonly job: ClaimedJob
  readonly attempt: Attempt
}

/** True when the task was settled, or is somebody else's now; false to have the engine hand it out again. */
function runOne(options: RunTaskOptions, run: Run): Promise<boolean> {
  const { taskId, operation, attempt, traceparent, approval, ageMs } = run.attempt
  const id = toWireId('task', taskId)
  // The trace of the request, however long ago that was. A decision has its own, which is linked.
  const origin = {
    ...(traceparent !== null && { parent: traceparent }),
    ...(approval !== null && { links: [approval] }),
  }
  const attributes = { 'sluice.task.id': id, 'sluice.attempt': attempt, 'sluice.age_ms': Math.round(ageMs) }
  return withLogFields({ taskId: id }, () =>
    options.tracer.withSpan(`attempt ${operation}`, (span) => runTraced(options, run, span), {
      kind: 'consumer',
      attributes,
      ...origin,
    }),
  )
}

async function runTraced(options: RunTaskOptions, { queue, job, attempt }: Run, span: Span): Promise<boolean> {
  const { taskId, tenant } = attempt
  const settled: SettledAttempt = {
    taskId,
    tenant,
    attempt: attempt.attempt,
    queue,
    job: { id: job.id, claim: job.claim },
    cluster: attempt.cluster === null ? null : breakerKey(options, tenant, attempt.cluster),
    traceparent: span.traceparent,
  }
  const log = { taskId: toWireId('task', taskId), operation: attempt.operation, attempt: attempt.attempt }
  const began = performance.now()
  const outcome = await keepLarge(options, settled, await decide(options, { job, attempt, settled }))
  noteOutcome(span, outcome)
  const seconds = (performance.now() - began) / 1000
  const { operation } = attempt
  options.instruments?.attempted({ operation, outcome: outcome?.kind ?? 'lost', seconds })
  options.logger.debug('attempt ended', { ...log, outcome: outcome?.kind ?? 'lost' })
  try {
    if (outcome) await options.tracer.withSpan('settle', () => settlePersistently(options, settled, outcome))
    else options.onLost(settled)
    if (outcome && isLast[outcome.kind]) {
      options.instruments?.finished({ operation, outcome: outcome.kind, seconds: attempt.ageMs / 1000 + seconds })
    }
    return true
  } catch (error) {
    if (isStale(error)) {
      options.logger.info('attempt was taken over; its outcome was not written', { ...log, outcome: outcome?.kind })
      return true
    }
    options.logger.error('outcome could not be written; the job will run again', { ...log, error })
    return false
  }
}

async function keepLarge(
  { results }: RunTaskOptions,
  of: SettledAttempt,
  outcome: Outcome | undefined,
): Promise<Outcome | undefined> {
  if (!results || outcome?.kind !== 'completed') return outcome
  return { ...outcome, result: await results.keep(of, outcome.result) }
}

/** Whether such an outcome ends the task. */
const isLast = {
  completed: true,
  failed: true,
  timed_out: true,
  cancelled: true,
  waiting: false,
  retrying: false,
} as const satisfies Record<Outcome['kind'], boolean>

function noteOutcome(span: Span, outcome: Outcome | undefined): void {
  span.setAttributes({ 'sluice.outcome': outcome?.kind ?? 'lost' })
  if (outcome && 'error' in outcome && outcome.kind !== 'cancelled') span.recordError(outcome.error.detail)
}

function breakerKey(options: RunTaskOptions, tenant: string, cluster: string): string {
  try {
    return options.clusterKey(tenant, cluster)
  } catch {
    return cluster
  }
}

interface Decision {
  readonly job: ClaimedJob
  readonly attempt: Attempt
  readonly settled: SettledAttempt
}

/** What became of the attempt; undefined when it is no longer ours to say. */
async function decide(options: RunTaskOptions, { job, attempt, settled }: Decision): Promise<Outcome | undefined> {
  if (attempt.cancelRequestedBy !== null) return cancelledOutcome(attempt)
  if (attempt.remainingMs <= 0) return timedOut('The deadline passed before this attempt could start.')
  const operation = options.operations.get(attempt.operation)
  // A rolling upgrade: a newer worker will know it. Handed back, not failed.
  if (!operation) {
    const detail = `This worker does not know the operation ${attempt.operation}; another one may.`
    const error = taskProblem({ code: 'unknown_operation', detail, retryable: true })
    return { kind: 'retrying', error, retryInMs: 10_000, burned: false }
  }
  const run = options.running.start(attempt.taskId, job.signal)
  const deadline = setTimeout(() => run.abort('deadline'), Math.min(attempt.remainingMs, 2 ** 31 - 1))
  const ended = new AbortController()
  try {
    // The worker was told to stop while this attempt was being started: it changes nothing any more.
    if (run.signal.aborted) return abortedOutcome(attempt, run.signal)
    const performing = perform(options, { operation, attempt, settled, signal: run.signal })
    return await Promise.race([performing, afterGrace(options, { attempt, signal: run.signal, ended: ended.signal })])
  } finally {
    clearTimeout(deadline)
    ended.abort()
    run.end()
  }
}

interface Performing {
  readonly operation: Operation
  readonly attempt: Attempt
  readonly settled: SettledAttempt
  readonly signal: AbortSignal
}

async function perform(
  options: RunTaskOptions,
  { operation, attempt, settled, signal }: Performing,
): Promise<Outcome | undefined> {
  let secrets: readonly InputSecret[] = []
  const context: PerformContext = {
    taskId: toWireId('task', attempt.taskId),
    retryOf: attempt.retryOf ? toWireId('task', attempt.retryOf) : undefined,
    tenant: attempt.tenant,
    attempt: attempt.attempt,
    flags: attempt.flags,
    signal,
    cluster: (name) => options.cluster(attempt.tenant, name),
    hub: tenantHub(options.hub, (name) => options.clusterKey(attempt.tenant, name)),
    report: (progress) => {
      if (!signal.aborted) options.onProgress(settled, withoutSecrets(progress, secrets))
    },
    storeResult: async (body, { mediaType = 'application/json' } = {}) => {
      if (options.results) return options.results.store(settled, body, mediaType)
      const message = 'There is no object storage for the result: start Sluice with --objects.'
      throw new PermanentError(message, { code: 'no_object_storage' })
    },
    ...runningRecord(options, settled),
  }
  try {
    const shown = operation.input.parse(attempt.input)
    secrets = await openSecretsOf(options, { operation, attempt, shown })
    const input = operation.input.parse(putSecrets(shown, secrets))
    const cluster = operation.cluster?.(input)
    if (cluster !== undefined) await options.expectCluster?.(attempt.tenant, cluster)
    return withoutSecrets(await operation.perform(context, input), secrets)
  } catch (error) {
    if (signal.aborted) return abortedOutcome(attempt, signal)
    return withoutSecrets(failedOutcome(options, { attempt, operation, error }), secrets)
  }
}

async function openSecretsOf(
  { database, secrets }: RunTaskOptions,
  { operation, attempt, shown }: { readonly operation: Operation; readonly attempt: Attempt; readonly shown: unknown },
): Promise<readonly InputSecret[]> {
  const { tenant, taskId: id } = attempt
  const owned = { owner: { tenant, id }, operation, input: shown }
  if (takeSecrets(operation, shown).secrets.length === 0) return []
  const opened = await database.transaction({ role: 'sluice_worker' }, (tx) => openSecrets(tx, secrets, [owned]))
  return opened.get(id) ?? []
}

interface Failed {
  readonly attempt: Attempt
  readonly operation: Operation
  readonly error: unknown
}

function failedOutcome(options: RunTaskOptions, { attempt, operation, error }: Failed): Outcome {
  const { problem, retryAfterMs, targetUnavailable } = toFailure(error)
  const { backoff, unavailableMs } = operation.retry
  if (!problem.retryable) return { kind: 'failed', error: problem, deadLettered: false }
  // Snoozed by all attempts so far: the handed-back ones did not count, and still must not come ever faster.
  if (targetUnavailable && attempt.elapsedMs < unavailableMs) {
    const retryInMs = Math.max(retryAfterMs ?? 0, backoffMs(attempt.attempt, backoff, options.random))
    return { kind: 'retrying', error: problem, retryInMs, burned: false, targetUnavailable }
  }
  if (attempt.burned >= attempt.maxAttempts) {
    const detail = `${problem.detail} (attempt ${attempt.burned} of ${attempt.maxAttempts}; none is left)`
    return { kind: 'failed', error: { ...problem, detail, retryable: false }, deadLettered: true }
  }
  const retryInMs = Math.max(retryAfterMs ?? 0, backoffMs(attempt.burned, backoff, options.random))
  return { kind: 'retrying', error: problem, retryInMs, burned: true, targetUnavailable }
}

// A handler that ignores its signal is fenced: its outcome is written without it, and its slot is free again.
function afterGrace(
  options: RunTaskOptions,
  { attempt, signal, ended }: { attempt: Attempt; signal: AbortSignal; ended: AbortSignal },
): Promise<Outcome | undefined> {
  return new Promise((resolve) => {
    const startGrace = () => {
      const timer = setTimeout(() => {
        const log = { taskId: toWireId('task', attempt.taskId), operation: attempt.operation }
        options.logger.warn('handler ignored its signal; settled without it', log)
        resolve(leftBehind(abortedOutcome(attempt, signal), options.graceMs))
      }, options.graceMs)
      ended.addEventListener('abort', () => clearTimeout(timer), { once: true })
    }
    signal.addEventListener('abort', startGrace, { once: true })
    ended.addEventListener('abort', () => signal.removeEventListener('abort', startGrace), { once: true })
  })
}

// Whoever reads the task hears of it, too: an operation that does so keeps other tasks from its slot.
function leftBehind(outcome: Outcome | undefined, graceMs: number): Outcome | undefined {
  if (!outcome || !('error' in outcome)) return outcome
  const detail = `${outcome.error.detail} The operation ignored its signal, and was left behind ${graceMs / 1000} s later.`
  return { ...outcome, error: { ...outcome.error, detail } }
}

function abortedOutcome(attempt: Attempt, signal: AbortSignal): Outcome | undefined {
  // Every abort of a run goes through `RunningAttempts`, which gives no other reason.
  const { why, by } = signal.reason as AttemptAborted
  switch (why) {
    case 'deadline':
      return timedOut('The deadline passed while the change was being made; what became of it is unknown.')
    case 'cancel':
      return cancelledOutcome({ cancelRequestedBy: by ?? attempt.cancelRequestedBy })
    case 'shutdown': {
      const detail = 'The worker was shut down; another one takes the task over.'
      return {
        kind: 'retrying',
        error: taskProblem({ code: 'handed_back', detail, retryable: true }),
        retryInMs: 0,
        burned: false,
      }
    }
    case 'lost':
      return undefined
  }
}

export function timedOut(detail: string): Extract<Outcome, { kind: 'timed_out' }> {
  return { kind: 'timed_out', error: taskProblem({ code: 'timed_out', detail, retryable: false }) }
}

export function cancelledOutcome(attempt: {
  readonly cancelRequestedBy: string | null
}): Extract<Outcome, { kind: 'cancelled' }> {
  const by = attempt.cancelRequestedBy ? ` by ${attempt.cancelRequestedBy}` : ''
  const detail = `Cancelled${by} while it ran. What was already asked of the cluster goes on there.`
  return { kind: 'cancelled', error: taskProblem({ code: 'cancelled', detail, retryable: false }) }
}

// The outcome is known and the effect has happened: a database that is away for a moment must not lose it.
async function settlePersistently(options: RunTaskOptions, attempt: SettledAttempt, outcome: Outcome): Promise<void> {
  const delaysMs = [100, 400, 1_600]
  for (let tries = 0; ; tries++) {
    try {
      return await options.settler.settle(attempt, outcome)
    } catch (error) {
      const delay = delaysMs[tries]
      if (isStale(error) || delay === undefined) throw error
      await new Promise((resolve) => setTimeout(resolve, delay))
    }
  }
}

/** Somebody else settled the task, or runs it now. */
export function isStale(error: unknown): boolean {
  if (error instanceof LostClaimError) return true
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'SL001' || code === 'SL002'
}
