import {
  AlreadyExistsError,
  ApplyConflictError,
  type ClusterError,
  type ClusterErrorDetails,
  ClusterServerError,
  ExpiredError,
  type FieldConflict,
  ForbiddenError,
  InvalidObjectError,
  NotFoundError,
  PreconditionFailedError,
  TerminatingError,
  ThrottledError,
  UnauthorizedError,
} from './cluster-errors.ts'
import { isRecord } from './kubernetes-object.ts'

interface Cause {
  readonly reason: string
  readonly field: string
  readonly message: string
}

/** What an API server says when it refuses: the parts of `metav1.Status` that decide. */
interface StatusParts {
  readonly status: number
  readonly reason: string
  readonly message: string
  readonly causes: readonly Cause[]
  /** Whether it names the object that it speaks of. */
  readonly names: boolean
  readonly details: ClusterErrorDetails
}

/**
 * Turns a refused request (a `Status` object, or whatever a proxy answered) into the error that says what to do.
 * `code` in the body wins over the HTTP status: a watch reports errors in events, under HTTP 200.
 */
export function statusToError(
  status: number,
  body: unknown,
  options: { readonly retryAfter?: string | undefined; readonly now?: number } = {},
): ClusterError {
  const parts = readStatus(status, body, options)
  return byReason(parts) ?? byStatus(parts)
}

function byReason(parts: StatusParts): ClusterError | undefined {
  const { reason, message, details, causes } = parts
  switch (reason) {
    case 'AlreadyExists':
      return new AlreadyExistsError(message, details)
    case 'Conflict':
      return conflict(parts)
    case 'Expired':
    case 'Gone':
      return new ExpiredError(message, details)
    case 'Forbidden':
      return causes.some((cause) => cause.reason === 'NamespaceTerminating')
        ? new TerminatingError(message, details)
        : new ForbiddenError(message, details)
    default:
      return undefined
  }
}

function byStatus(parts: StatusParts): ClusterError {
  const { status, message, details } = parts
  switch (status) {
    case 401:
      return new UnauthorizedError(message, details)
    case 403:
      return new ForbiddenError(message, details)
    case 404:
      return new NotFoundError(message, { ...details, knowsKind: parts.names })
    case 409:
      return conflict(parts)
    case 410:
      return new ExpiredError(message, details)
    case 422:
      return invalid(parts)
    case 408:
    case 429:
      return new ThrottledError(message, details)
    default:
      if (status >= 500)
        return isPermanentServerError(message) ? invalid(parts) : new ClusterServerError(message, details)
      return invalid(parts)
  }
}

// An unknown field of a custom resource is refused by the apply machinery, not by validation, and so answers 500.
function isPermanentServerError(message: string): boolean {
  return /failed to create typed (patch|live) object|field not declared in schema/.test(message)
}

function conflict({ causes, message, details }: StatusParts): ClusterError {
  const conflicts = causes.filter((cause) => cause.reason === 'FieldManagerConflict').map(toFieldConflict)
  return conflicts.length > 0
    ? new ApplyConflictError(message, { ...details, conflicts })
    : new PreconditionFailedError(message, details)
}

// The server names the owner only in prose: conflict with "manager" using v1 at 2026-…
function toFieldConflict({ field, message }: Cause): FieldConflict {
  return { field, owner: /conflict with "([^"]*)"/.exec(message)?.[1] ?? message }
}

function invalid({ causes, message, details }: StatusParts): ClusterError {
  // The uid in an apply is a fence: 422 "field is immutable" means that the name belongs to another object now.
  if (causes.some((cause) => cause.field === 'metadata.uid')) return new PreconditionFailedError(message, details)
  return new InvalidObjectError(message, {
    ...details,
    fields: causes.map(({ field, message: text }) => ({ field, message: text })),
  })
}

function readStatus(
  httpStatus: number,
  body: unknown,
  options: { readonly retryAfter?: string | undefined; readonly now?: number },
): StatusParts {
  const isStatus = isRecord(body) && body['kind'] === 'Status'
  const details = isStatus && isRecord(body['details']) ? body['details'] : {}
  const status = isStatus && typeof body['code'] === 'number' ? body['code'] : httpStatus
  const retryAfterSeconds = details['retryAfterSeconds']
  return {
    status,
    reason: isStatus && typeof body['reason'] === 'string' ? body['reason'] : '',
    message: isStatus && typeof body['message'] === 'string' ? body['message'] : proseOf(status, body),
    causes: Array.isArray(details['causes']) ? details['causes'].filter(isRecord).map(readCause) : [],
    names: typeof details['name'] === 'string' && details['name'] !== '',
    details: {
      status,
      retryAfterMs:
        parseRetryAfter(options.retryAfter, options.now ?? Date.now()) ??
        (typeof retryAfterSeconds === 'number' && retryAfterSeconds > 0 ? retryAfterSeconds * 1000 : undefined),
    },
  }
}

function readCause(cause: Readonly<Record<string, unknown>>): Cause {
  const text = (key: string): string => (typeof cause[key] === 'string' ? cause[key] : '')
  return { reason: text('reason'), field: text('field'), message: text('message') }
}

function proseOf(status: number, body: unknown): string {
  const text = typeof body === 'string' ? body.trim().slice(0, 300) : ''
  return text ? `The API server answered ${status}: ${text}` : `The API server answered ${status}.`
}

/** `Retry-After` in milliseconds: seconds or an HTTP date (RFC 9110, 10.2.3); `undefined` when absent or unreadable. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value === '') return undefined
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
