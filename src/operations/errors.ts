/** What a failed attempt tells the engine: what the user reads, and whether trying again can help. */
export interface FailureOptions {
  /** Stable machine-readable code, listed in docs/errors.md. */
  readonly code: string
  readonly cause?: unknown
}

/** Trying again changes nothing: the task is FAILED at once. */
export class PermanentError extends Error {
  readonly retryable = false
  readonly code: string
  constructor(message: string, options: FailureOptions) {
    super(message, { cause: options.cause })
    this.code = options.code
  }
}

/**
 * What the operation works on cannot be reached now: the task is RETRYING, and the attempt does not count for as long as
 * the operation's `retry.unavailableMs` lasts.
 */
export class TargetUnavailableError extends Error {
  readonly retryable = true
  readonly targetUnavailable = true
  readonly code: string
  readonly retryAfterMs: number | undefined
  constructor(message: string, options: FailureOptions & { readonly retryAfterMs?: number }) {
    super(message, { cause: options.cause })
    this.code = options.code
    this.retryAfterMs = options.retryAfterMs
  }
}

/** The same call may succeed later: the task is RETRYING, with backoff, until its attempts are used up. */
export class TransientError extends Error {
  readonly retryable = true
  readonly code: string
  readonly retryAfterMs: number | undefined
  constructor(message: string, options: FailureOptions & { readonly retryAfterMs?: number }) {
    super(message, { cause: options.cause })
    this.code = options.code
    this.retryAfterMs = options.retryAfterMs
  }
}
