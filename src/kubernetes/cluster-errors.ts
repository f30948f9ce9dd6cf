/** One code per decision that a caller can take. */
export type ClusterErrorCode =
  | 'unreachable'
  | 'throttled'
  | 'server_error'
  | 'expired'
  | 'conflict'
  | 'precondition_failed'
  | 'already_exists'
  | 'terminating'
  | 'forbidden'
  | 'unauthorized'
  | 'invalid'
  | 'not_found'
  | 'unknown_kind'
  | 'cluster_configuration'
  | 'cluster_removed'

export interface ClusterErrorDetails {
  /** HTTP status, where there was an answer. */
  readonly status?: number | undefined
  /** Milliseconds that the server asked us to wait. */
  readonly retryAfterMs?: number | undefined
  readonly cause?: unknown
}

/** Whatever goes wrong between us and an API server. `retryable`: the same call may succeed later. */
export abstract class ClusterError extends Error {
  abstract readonly code: ClusterErrorCode
  abstract readonly retryable: boolean
  readonly status: number | undefined
  readonly retryAfterMs: number | undefined

  constructor(message: string, details: ClusterErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.status = details.status
    this.retryAfterMs = details.retryAfterMs
  }
}

/** No answer: refused, cut, timed out, TLS failure. The change may or may not have happened. */
export class UnreachableError extends ClusterError {
  readonly code = 'unreachable'
  readonly retryable = true
}

/** 429: asked too often. */
export class ThrottledError extends ClusterError {
  readonly code = 'throttled'
  readonly retryable = true
}

/** 5xx that may pass: overload, a webhook that did not answer, a leader election. */
export class ClusterServerError extends ClusterError {
  readonly code = 'server_error'
  readonly retryable = true
}

/** 410: the resourceVersion or continue token is too old. List again. */
export class ExpiredError extends ClusterError {
  readonly code = 'expired'
  readonly retryable = true
}

/** A field that somebody else owns: what a server-side apply without `force` may not change. */
export interface FieldConflict {
  /** Such as `.spec.runStrategy`. */
  readonly field: string
  /** Field manager that owns it. */
  readonly owner: string
}

/** Server-side apply met fields of other managers. Never forced silently: a person decides. */
export class ApplyConflictError extends ClusterError {
  readonly code = 'conflict'
  readonly retryable = false
  readonly conflicts: readonly FieldConflict[]
  constructor(message: string, details: ClusterErrorDetails & { readonly conflicts: readonly FieldConflict[] }) {
    super(message, details)
    this.conflicts = details.conflicts
  }
}

/** The object is not the one that was meant: its uid or resourceVersion is another, or it is gone. */
export class PreconditionFailedError extends ClusterError {
  readonly code = 'precondition_failed'
  readonly retryable = false
}

/** `create` met an object of that name. */
export class AlreadyExistsError extends ClusterError {
  readonly code = 'already_exists'
  readonly retryable = false
}

/** The object, or its namespace, is being deleted: nothing can be made of it, but its name becomes free. */
export class TerminatingError extends ClusterError {
  readonly code = 'terminating'
  readonly retryable = true
}

/** 403: our credentials may not do this (or a quota or admission policy refuses it). */
export class ForbiddenError extends ClusterError {
  readonly code = 'forbidden'
  readonly retryable = false
}

/** 401 also with fresh credentials. Retryable: a token may be rotated a moment late. */
export class UnauthorizedError extends ClusterError {
  readonly code = 'unauthorized'
  readonly retryable = true
}

/** The server refuses the content: schema, unknown field, immutable field. Sending it again changes nothing. */
export class InvalidObjectError extends ClusterError {
  readonly code = 'invalid'
  readonly retryable = false
  /** JSON-path like field names and what is wrong with each, where the server says so. */
  readonly fields: readonly { readonly field: string; readonly message: string }[]
  constructor(
    message: string,
    details: ClusterErrorDetails & {
      readonly fields?: readonly { readonly field: string; readonly message: string }[]
    } = {},
  ) {
    super(message, details)
    this.fields = details.fields ?? []
  }
}

/** 404 where an object was needed (`get` and `delete` answer `undefined` instead). */
export class NotFoundError extends ClusterError {
  readonly code = 'not_found'
  readonly retryable = false
  /** Whether the server knows the kind and misses the object. Otherwise the path itself was unknown to it. */
  readonly knowsKind: boolean
  constructor(message: string, details: ClusterErrorDetails & { readonly knowsKind: boolean }) {
    super(message, details)
    this.knowsKind = details.knowsKind
  }
}

/** The cluster serves no such kind. Retryable: its CustomResourceDefinition may be on its way. */
export class UnknownKindError extends ClusterError {
  readonly code = 'unknown_kind'
  readonly retryable = true
}

/** The kubeconfig, or a path of it, cannot be used. */
export class ClusterConfigurationError extends ClusterError {
  readonly code = 'cluster_configuration'
  readonly retryable = false
}

/** Its tenant removed the cluster. */
export class ClusterRemovedError extends ClusterError {
  readonly code = 'cluster_removed'
  readonly retryable = false
}
