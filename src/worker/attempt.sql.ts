import { queryPrepared, type Transaction } from '../database/database.ts'
import type { FlagValue } from '../platform/feature-flags.ts'

/** A started attempt, with what its operation needs. Times come from the database's clock. */
export interface Attempt {
  readonly taskId: string
  readonly tenant: string
  readonly operation: string
  readonly cluster: string | null
  readonly input: unknown
  readonly attempt: number
  /** Attempts that count: those handed back unburned do not. */
  readonly burned: number
  readonly maxAttempts: number
  readonly retryOf: string | null
  readonly cancelRequestedBy: string | null
  /** Milliseconds left until the deadline; negative when it has passed. */
  readonly remainingMs: number
  /** Milliseconds since the task's first start. */
  readonly elapsedMs: number
  /** Milliseconds since it was accepted. */
  readonly ageMs: number
  /** W3C trace context of the request. */
  readonly traceparent: string | null
  /** The same of the decision that released it. */
  readonly approval: string | null
  /** The operation's flags as they were when the task was accepted. */
  readonly flags: Readonly<Record<string, FlagValue>>
}

/** A claimed job that may not start now: paused, over a limit, or its cluster is being left alone. */
export interface HeldJob {
  readonly taskId: string
  /** Milliseconds after which to look again if nobody wakes it before. */
  readonly heldMs: number
}

type Carried = Pick<Attempt, 'ageMs' | 'traceparent' | 'approval' | 'flags'>
const nothingCarried: Carried = { ageMs: 0, traceparent: null, approval: null, flags: {} }

type StartedRow = Omit<Attempt, keyof Carried> & { readonly heldMs: number | null; readonly carried: Carried | null }

// One call of a function: there is one plan for it.
const startText = `
  select task_id as "taskId", held_ms as "heldMs", tenant, operation, cluster, input, attempt, burned,
    max_attempts as "maxAttempts", retry_of as "retryOf", cancel_requested_by as "cancelRequestedBy",
    remaining_ms as "remainingMs", elapsed_ms as "elapsedMs", carried
  from sluice.start_attempts($1::jsonb, $2)`

export interface Claim {
  readonly task_id: string
  readonly event_id: string
  readonly claim: number
}

/**
 * Writes `task.started` for every claimed task that may start. A task that ended meanwhile, or that was claimed again,
 * is in neither list: whoever holds its job has nothing to do.
 */
export async function startAttempts(
  tx: Transaction,
  claims: readonly Claim[],
  worker: string,
): Promise<{ readonly started: readonly Attempt[]; readonly held: readonly HeldJob[] }> {
  const { rows } = await queryPrepared<StartedRow>(tx, startText, [JSON.stringify(claims), worker])
  return {
    started: rows.flatMap(({ heldMs, carried: found, ...attempt }) =>
      heldMs === null ? [{ ...attempt, ...nothingCarried, ...found }] : [],
    ),
    held: rows.flatMap(({ taskId, heldMs }) => (heldMs === null ? [] : [{ taskId, heldMs }])),
  }
}
