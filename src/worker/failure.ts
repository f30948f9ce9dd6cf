import type { Problem } from '../contract/problem.ts'
import type { Backoff } from '../operations/define-operation.ts'
import { parseTraceparent } from '../platform/traceparent.ts'

/** How one attempt ended badly, before anybody decides what becomes of the task. */
export interface Failure {
  readonly problem: Problem
  readonly retryAfterMs: number | undefined
  /** The attempt did not reach what it works on. */
  readonly targetUnavailable: boolean
}

/**
 * Reads an error that `perform` threw. Errors that carry a `code` and `retryable` (operations, Kubernetes) speak for
 * themselves; anything else is a bug or a surprise, and worth another attempt.
 */
export function toFailure(error: unknown): Failure {
  const { code, retryable, retryAfterMs, targetUnavailable } = failureFields(error)
  const detail = error instanceof Error ? error.message : String(error)
  return { problem: taskProblem({ code, detail, retryable }), retryAfterMs, targetUnavailable }
}

// The cluster's own: no answer, "not now", and an error of the server's making.
const unavailableCodes = new Set(['unreachable', 'throttled', 'server_error'])

interface FailureFields {
  readonly code: string
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  readonly targetUnavailable: boolean
}

function failureFields(error: unknown): FailureFields {
  const fields = typeof error === 'object' && error !== null ? error : {}
  const code = 'code' in fields && typeof fields.code === 'string' ? fields.code : 'operation_error'
  const retryable = 'retryable' in fields && typeof fields.retryable === 'boolean' ? fields.retryable : true
  const retryAfterMs =
    'retryAfterMs' in fields && typeof fields.retryAfterMs === 'number' ? fields.retryAfterMs : undefined
  const says = 'targetUnavailable' in fields && fields.targetUnavailable === true
  return { code, retryable, retryAfterMs, targetUnavailable: retryable && (says || unavailableCodes.has(code)) }
}

const titles: Readonly<Record<string, string>> = {
  already_exists: 'The object already exists',
  timed_out: 'The deadline passed',
  cancelled: 'Cancelled',
  operation_error: 'The operation failed',
  unknown_operation: 'No worker knows this operation',
}

export function taskProblem(fields: { code: string; detail: string; retryable: boolean }): Problem {
  return {
    type: `https://sluice.dev/errors/${fields.code}`,
    title: titles[fields.code] ?? 'The operation failed',
    status: fields.code === 'timed_out' ? 504 : fields.code === 'already_exists' ? 409 : 500,
    ...fields,
  }
}

/** The problem with the trace in which it happened. */
export function tracedProblem<T extends object>(problem: T, traceparent: string | undefined): T {
  const ids = parseTraceparent(traceparent)
  return ids ? { ...problem, trace_id: ids.traceId } : problem
}

/**
 * Milliseconds before attempt `n + 1`: the operation's backoff, and up to half of it again by chance, so that tasks that
 * failed together do not come back together.
 */
export function backoffMs(failedAttempts: number, backoff: Backoff, random: () => number): number {
  const base = Math.min(backoff.maxMs, backoff.initialMs * backoff.factor ** Math.min(failedAttempts - 1, 50))
  return Math.round(base * (1 + random() / 2))
}
