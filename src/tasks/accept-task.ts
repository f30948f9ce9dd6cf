import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import { toWireId } from '../contract/ids.ts'
import type { TaskOptions } from '../contract/task.ts'
import type { TaskStatus } from '../contract/task-status.ts'
import { isDatabaseAway, isDatabaseSilent } from '../database/database-away.ts'
import { type Database, isTenantId, type Transaction } from '../database/database.ts'
import { sourceField } from '../database/request-source.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Standing } from '../identity/standing.ts'
import { type Instruments, noInstruments } from '../metrics/instruments.ts'
import type { Operation } from '../operations/define-operation.ts'
import type { FeatureFlags } from '../platform/feature-flags.ts'
import type { SecretBox } from '../platform/secret-box.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { NewJob, Queue, QueueName } from '../queue/queue.ts'
import { describeQuotas, type Gate, type GatedRequest, type JudgedRow } from './gate.ts'
import { nameRequest, type Places } from './places.ts'
import { type AcceptOutcome, type AcceptRow, acceptTasks, type RequestPayload } from './accept-tasks.sql.ts'
import { type PinnedFlags, pinFlags } from './pin-flags.ts'
import { keepTaskSecrets, takeSecrets } from './secret-input.ts'

/** With what the actor is, which policy may ask about. @default nothing */
export interface AcceptRequest extends Partial<Standing> {
  readonly operation: Operation
  /** As the operation's schema returned it. */
  readonly input: unknown
  readonly options: TaskOptions
  readonly tenant: string
  readonly actor: string
  readonly idempotencyKey?: string
  readonly retryOf?: string
  readonly batchId?: string
  readonly scheduleId?: string
  /** W3C trace context that the task's work continues. @default that of its acceptance */
  readonly traceparent?: string
  /** What `pinFlags` found. @default none */
  readonly flags?: PinnedFlags
  /** W3C trace context of the task that this one tries again: linked, not continued. */
  readonly follows?: string
}

export interface AcceptedTask {
  readonly outcome: AcceptOutcome['outcome'] | 'flag_off' | 'forbidden'
  /** UUID of the task: the new one, the one joined, or the one in the way. */
  readonly taskId: string
  readonly status: TaskStatus
  readonly deduplicated: boolean
  /** Why it was refused, as a sentence; or the quotas that it was over. */
  readonly reason?: string
  /** The feature flag that is off. */
  readonly flag?: string
}

export interface TaskAcceptor {
  /** Resolves after the commit. Rejects when nothing was written, or when nobody can know (the connection broke). */
  accept(request: AcceptRequest): Promise<AcceptedTask>
}

export interface TaskAcceptorOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  /** Where objects stand behind base paths. Without it everything stands at the server itself. */
  readonly places?: Places | undefined
  /** Judges each request by the policy. Without it everything is allowed: for tests and measurements. */
  readonly gate?: Gate
  /** Without them each flag is its default: operations behind one are off. */
  readonly featureFlags?: FeatureFlags
  /** Seals secrets of inputs. Without it an input with a secret is refused. */
  readonly secrets?: SecretBox | undefined
  /** @default nobody counts */
  readonly instruments?: Instruments
  /** Without it tasks carry no trace: for tests and measurements. */
  readonly tracer?: Tracer
  /** Requests in one transaction, at most. @default 100 */
  readonly groupSize?: number
  /** Transactions under way at once: while one is written to disk the next is prepared. @default 3 */
  readonly groupsInFlight?: number
}

interface Waiting extends GatedRequest {
  readonly resolve: (task: AcceptedTask) => void
  readonly reject: (error: unknown) => void
}

const queueOf = { short: 'sluice-short', long: 'sluice-long' } as const satisfies Record<Operation['class'], QueueName>

/** Fewer are not worth a transaction of their own while others wait. */
const smallestShare = 16

/**
 * Accepts requests. Those that arrive while a transaction is under way travel together in the next one; a caller who
 * comes alone is served at once. One bad request fails alone: when a group fails, each of it is tried by itself.
 */
export function createTaskAcceptor(options: TaskAcceptorOptions): TaskAcceptor {
  const groupSize = options.groupSize ?? 100
  const groupsInFlight = options.groupsInFlight ?? 3
  const waiting: Waiting[] = []
  let inFlight = 0
  let callers = 0

  const dispatch = (): void => {
    while (inFlight < groupsInFlight && waiting.length > 0) {
      // Groups of one size: those who are answered together come again together.
      const share = Math.max(smallestShare, Math.ceil((callers + waiting.length) / groupsInFlight))
      const group = waiting.splice(0, Math.min(groupSize, share))
      inFlight++
      callers += group.length
      void settleGroup(options, group).then((silent) => {
        inFlight--
        callers -= group.length
        // Behind a database that says nothing each would wait its turn for the same end.
        if (silent) for (const one of waiting.splice(0)) one.reject(silent)
        dispatch()
      })
    }
  }

  const enqueue = (request: AcceptRequest): Promise<AcceptedTask> =>
    new Promise((resolve, reject) => {
      waiting.push({ request, row: toAcceptRow(request, options.places), resolve, reject })
      dispatch()
    })
  const { tracer, instruments = noInstruments } = options
  const accept = async (request: AcceptRequest): Promise<AcceptedTask> => {
    const began = performance.now()
    const accepted = await enqueue({ ...request, flags: await pinFlags(options.featureFlags, request) })
    const seconds = (performance.now() - began) / 1000
    instruments.accepted({ operation: request.operation.type, outcome: accepted.outcome, seconds })
    return accepted
  }

  if (!tracer) return { accept }
  return {
    accept: (request) =>
      tracer.withSpan(
        `accept ${request.operation.type}`,
        async (span) => {
          const accepted = await accept({ ...request, traceparent: span.traceparent })
          span.setAttributes({ 'sluice.outcome': accepted.outcome })
          if (accepted.outcome === 'accepted')
            span.setAttributes({ 'sluice.task.id': toWireId('task', accepted.taskId) })
          return accepted
        },
        { kind: 'producer', ...(request.follows !== undefined && { links: [request.follows] }) },
      ),
  }
}

/** Returns the error where the database did not answer at all. */
async function settleGroup(options: TaskAcceptorOptions, group: readonly Waiting[]): Promise<unknown> {
  try {
    const outcomes = await acceptGroup(options, group)
    group.forEach((one, i) => one.resolve(outcomes[i] ?? missingOutcome()))
  } catch (error) {
    if (isDatabaseAway(error)) {
      // The commit may have happened: to try again here could refuse a caller because of their own task.
      for (const one of group) one.reject(error)
      return isDatabaseSilent(error) ? error : undefined
    }
    if (group.length === 1) {
      await settleAlone(options, group[0], error)
      return undefined
    }
    let silent: unknown
    for (const one of group) {
      if (silent) one.reject(silent)
      else silent = await settleGroup(options, [one])
    }
    return silent
  }
  return undefined
}

// 23505: a lost race on a key (the next look finds who won) · 40P01: a deadlock between two groups.
const raceCodes = new Set(['23505', '40P01', '40001'])

async function settleAlone(options: TaskAcceptorOptions, one: Waiting | undefined, first: unknown): Promise<void> {
  if (!one) return
  let error = first
  for (let tries = 0; tries < 5 && isRace(error); tries++) {
    try {
      const [outcome] = await acceptGroup(options, [one])
      one.resolve(outcome ?? missingOutcome())
      return
    } catch (again) {
      error = again
    }
  }
  one.reject(error)
}

/** Somebody else was a moment faster: trying again finds who. */
export function isRace(error: unknown): boolean {
  return error instanceof Error && 'code' in error && raceCodes.has(String(error.code))
}

function missingOutcome(): never {
  throw new Error('accept_tasks answered fewer rows than it was given')
}

/** The acceptance: event and projection, and the job, in one transaction. */
async function acceptGroup(options: TaskAcceptorOptions, group: readonly GatedRequest[]): Promise<AcceptedTask[]> {
  const { database, queue, signals, gate, secrets } = options
  const wake = new Set<Operation['class']>()
  let judged: readonly JudgedRow[] = group
  const outcomes = await database.transaction({ role: 'sluice_api' }, async (tx) => {
    if (gate) judged = await gate.judge(tx, group)
    const numbered = judged.map(({ row }, idx) => ({ ...row, idx }))
    const accepted = await acceptTasks(tx, numbered)
    await keepTaskSecrets(tx, secrets, ownedInputs(group, accepted))
    for (const kind of await insertJobs(tx, queue, { rows: numbered, accepted })) wake.add(kind)
    return accepted
  })
  if (wake.size > 0) signals.send(...wake, 'events')
  return outcomes
    .toSorted((a, b) => a.idx - b.idx)
    .map(({ idx, outcome, task_id, status, deduplicated }) => {
      const judgement = judged[idx]
      const reason = outcome === 'over_quota' ? describeQuotas(judgement?.row.payload.quotas ?? []) : judgement?.reason
      const flag = group[idx]?.request.flags?.off
      if (outcome === 'denied' && flag !== undefined)
        return { outcome: 'flag_off', taskId: task_id, status, deduplicated, flag }
      const forbidden = outcome === 'denied' && judgement?.forbidden === true
      return {
        outcome: forbidden ? 'forbidden' : outcome,
        taskId: task_id,
        status,
        deduplicated,
        ...(reason !== undefined && { reason }),
      }
    })
}

/** What was accepted of a group, with the secrets that are still in its inputs. */
export const ownedInputs = (group: readonly GatedRequest[], accepted: readonly AcceptOutcome[]) =>
  accepted.flatMap(({ idx, outcome, task_id: id }) => {
    const request = group[idx]?.request
    if (outcome !== 'accepted' || !request) return []
    return [{ owner: { tenant: request.tenant, id }, operation: request.operation, input: request.input }]
  })

export interface AcceptedRows {
  /** Each at the place that its `idx` says. */
  readonly rows: readonly AcceptRow[]
  readonly accepted: readonly AcceptOutcome[]
}

/** The jobs of what was accepted, in the same transaction. Returns the classes to wake after the commit. */
export async function insertJobs(
  tx: Transaction,
  queue: Queue,
  { rows, accepted }: AcceptedRows,
): Promise<readonly Operation['class'][]> {
  const jobs: Record<Operation['class'], NewJob[]> = { short: [], long: [] }
  for (const { idx, outcome, status, job_priority: priority } of accepted) {
    const row = rows[idx]
    // Before an approval there is no job.
    if (!row || outcome !== 'accepted' || status === 'AWAITING_APPROVAL') continue
    jobs[row.payload.class].push(toJob(row, priority ?? 0))
  }
  const kinds = (['short', 'long'] as const).filter((kind) => jobs[kind].length > 0)
  for (const kind of kinds) {
    const inserted = await queue.insert(tx, queueOf[kind], jobs[kind])
    if (inserted.length !== jobs[kind].length) throw new Error('the engine already knows a job of a new task')
  }
  return kinds
}

function toJob(row: AcceptRow, priority: number): NewJob {
  const { payload } = row
  return {
    id: row.task_id,
    eventId: row.event_id,
    priority,
    maxAttempts: payload.max_attempts,
    // The worker ends a run at its deadline; the engine steps in only when the worker does not.
    expireInMs: Math.min(payload.timeout_ms + 60_000, 24 * 3_600_000),
    ...(payload.start_at !== null && { startAt: new Date(payload.start_at) }),
  }
}

/** The request as the database takes it, with the ids of its task and its event. */
export function toAcceptRow(request: AcceptRequest, places?: Places): AcceptRow {
  const { operation, input, options } = request
  if (!isTenantId(request.tenant)) throw new Error(`${JSON.stringify(request.tenant)} is not a tenant id`)
  const { target, uniqueKey } = nameRequest(request, places)
  const scheduled = options.start_at !== undefined && Date.parse(options.start_at) > Date.now()
  const canonicalInput = canonical(input)
  return {
    idx: 0,
    task_id: uuidv7(),
    event_id: uuidv7(),
    tenant: request.tenant,
    actor: request.actor,
    operation: operation.type,
    target,
    idempotency_key: request.idempotencyKey ?? null,
    // The canonical form of all three, around that of the input: keys stand in their order.
    request_hash: sha256(
      `{"input":${canonicalInput},"operation":${canonical(operation.type)},"options":${canonical(options)}}`,
    ),
    payload: {
      input: takeSecrets(operation, input).shown,
      input_hash: sha256(canonicalInput),
      class: operation.class,
      status: scheduled ? 'SCHEDULED' : 'PENDING',
      cluster: operation.cluster?.(input) ?? null,
      unique_key: uniqueKey,
      labels: options.labels ?? {},
      priority: options.priority ?? 0,
      timeout_ms: options.timeout_ms ?? operation.timeoutMs,
      max_attempts: operation.retry.maxAttempts,
      start_at: scheduled ? (options.start_at ?? null) : null,
      retry_of: request.retryOf ?? null,
      batch_id: request.batchId ?? null,
      schedule_id: request.scheduleId ?? null,
      ...sourceField(),
      ...(request.traceparent !== undefined && { traceparent: request.traceparent }),
      ...toPinned(request.flags),
    },
  }
}

// Refused where policy refuses, too: after the look at the key, whose first answer stays its answer.
function toPinned({ values, off }: PinnedFlags = { values: {} }): Pick<RequestPayload, 'flags' | 'refused'> {
  const named = Object.keys(values).length > 0
  return { ...(named && { flags: values }), ...(off !== undefined && { refused: 'denied' }) }
}

const sha256 = (text: string): string => hash('sha256', text)

/** The canonical form (RFC 8785), so that equal requests have equal hashes. */
function canonical(value: unknown): string {
  return canonicalize(value) ?? ''
}
