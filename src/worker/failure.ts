import type { Problem } from '../contract/problem.ts'

/** How one attempt ended badly, before anybody decides what becomes of the task. */
export interface Failure {
  readonly problem: Problem
  readonly retryAfterMs: number | undefined
}

/**
 * Reads an error that `perform` threw. Errors that carry a `code` and `retryable` (operations, Kubernetes) speak for
 * themselves; anything else is a bug or a surprise, and worth another attempt.
 */
export function toFailure(error: unknown): Failure {
  const { code, retryable, retryAfterMs } = failureFields(error)
  const detail = error instanceof Error ? error.message : String(error)
  return { problem: taskProblem({ code, detail, retryable }), retryAfterMs }
}

function failureFields(error: unknown): { code: string; retryable: boolean; retryAfterMs: number | undefined } {
  const fields = typeof error === 'object' && error !== null ? error : {}
  const code = 'code' in fields && typeof fields.code === 'string' ? fields.code : 'operation_error'
  const retryable = 'retryable' in fields && typeof fields.retryable === 'boolean' ? fields.retryable : true
  const retryAfterMs =
    'retryAfterMs' in fields && typeof fields.retryAfterMs === 'number' ? fields.retryAfterMs : undefined
  return { code, retryable, retryAfterMs }
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

/**
 * Milliseconds before attempt `n + 1`: 1 s, 2 s, 4 s … at most a minute, and up to half of it again by chance, so that
 * tasks that failed together do not come back together.
 */
export function backoffMs(failedAttempts: number, random: () => number): number {
  const base = Math.min(60_000, 1_000 * 2 ** Math.min(failedAttempts - 1, 10))
  return Math.round(base * (1 + random() / 2))
}
