import type { Problem } from '../contract/problem.ts'

/** The server refused, and says why: a problem document (RFC 9457). */
export class SluiceProblem extends Error {
  override readonly name = 'SluiceProblem'
  readonly problem: Problem
  /** HTTP status of the answer. */
  readonly status: number
  /** Stable machine-readable code, as listed in docs/errors.md. */
  readonly code: string
  /** Milliseconds the server asked to wait before the next try, from `Retry-After`; null when it did not. */
  readonly retryAfterMs: number | null

  constructor(problem: Problem, retryAfterMs: number | null = null) {
    super(problem.detail)
    this.problem = problem
    this.status = problem.status
    this.code = problem.code
    this.retryAfterMs = retryAfterMs
  }
}

/** Nobody answered, or what answered is not a Sluice server (of this version). Trying again later may help. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError'
  readonly code = 'unreachable'
  readonly url: string
  /** Milliseconds to wait before the next try when a proxy said so with `Retry-After`; null otherwise. */
  readonly retryAfterMs: number | null

  constructor(
    url: string,
    reason: string,
    options: { readonly cause?: unknown; readonly retryAfterMs?: number | null } = {},
  ) {
    super(`No answer from Sluice at ${url}: ${reason}`, { cause: options.cause })
    this.url = url
    this.retryAfterMs = options.retryAfterMs ?? null
  }
}

/** True where the same request may succeed later: unreachable, overloaded, or a problem that says so of a 5xx. */
export function isPassing(error: unknown): error is SluiceProblem | UnreachableError {
  if (error instanceof UnreachableError) return true
  return error instanceof SluiceProblem && (error.status === 429 || error.status >= 500)
}
