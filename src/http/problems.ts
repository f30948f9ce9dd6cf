import type { Problem } from '../contract/problem.ts'
import { isDatabaseAway } from '../database/database-away.ts'
import { RefusedError } from '../operations/define-operation.ts'
import { NoSecretKeyError } from '../platform/secret-box.ts'

interface ProblemKind {
  readonly status: number
  readonly title: string
  readonly retryable: boolean
}

/** Every code that the HTTP API answers with. docs/errors.md lists the same; a test keeps the two equal. */
export const problemKinds = {
  malformed_request: { status: 400, title: 'The request cannot be read', retryable: false },
  tenant_required: { status: 400, title: 'Which tenant?', retryable: false },
  unauthenticated: { status: 401, title: 'Who are you?', retryable: false },
  forbidden: { status: 403, title: 'Not allowed', retryable: false },
  policy_denied: { status: 403, title: 'The policy refuses it', retryable: false },
  flag_off: { status: 403, title: 'Behind a feature flag', retryable: false },
  cross_origin: { status: 403, title: 'Cross-origin request refused', retryable: false },
  csrf_refused: { status: 403, title: 'The change may not be your own', retryable: false },
  not_found: { status: 404, title: 'Not found', retryable: false },
  method_not_allowed: { status: 405, title: 'Method not allowed', retryable: false },
  conflict: { status: 409, title: 'Another task is in the way', retryable: false },
  already_ended: { status: 409, title: 'The task has already ended', retryable: false },
  ticket_closed: { status: 409, title: 'The ticket is closed', retryable: false },
  ticket_changed: { status: 409, title: 'The ticket is not what you saw', retryable: false },
  no_result: { status: 409, title: 'The task has no result', retryable: false },
  not_retryable: { status: 409, title: 'The task cannot be tried again', retryable: false },
  cluster_exists: { status: 409, title: 'There is such a cluster already', retryable: false },
  schedule_exists: { status: 409, title: 'There is such a schedule already', retryable: false },
  too_many_clusters: { status: 422, title: 'Too many clusters', retryable: false },
  batch_refused: { status: 422, title: 'Some items cannot be accepted', retryable: false },
  invalid_schedule: { status: 422, title: 'The schedule cannot be read', retryable: false },
  last_admin: { status: 409, title: 'The last admin stays', retryable: false },
  payload_too_large: { status: 413, title: 'The request is too large', retryable: false },
  unsupported_media_type: { status: 415, title: 'Unsupported media type', retryable: false },
  too_many_requests: { status: 429, title: 'Too many requests', retryable: true },
  invalid_input: { status: 422, title: 'The input is not valid', retryable: false },
  invalid_page_token: { status: 422, title: 'The page token is not valid', retryable: false },
  unknown_cluster: { status: 422, title: 'There is no such cluster', retryable: false },
  unknown_operation: { status: 422, title: 'There is no such operation', retryable: false },
  idempotency_key_reused: { status: 422, title: 'The Idempotency-Key was used for another request', retryable: false },
  dry_run_unsupported: { status: 422, title: 'This operation has no dry run', retryable: false },
  dry_run_refused: { status: 422, title: 'The cluster would refuse the change', retryable: false },
  confirmation_required: { status: 422, title: 'Type the name again', retryable: false },
  no_mail_server: { status: 422, title: 'No mail server', retryable: false },
  no_secret_key: { status: 422, title: 'No key for secrets', retryable: false },
  quota_exceeded: { status: 429, title: 'Quota exceeded', retryable: true },
  too_many_tickets: { status: 429, title: 'Too many open tickets', retryable: true },
  identity_provider_unreachable: { status: 503, title: 'The identity provider cannot be reached', retryable: true },
  internal_error: { status: 500, title: 'Something went wrong', retryable: true },
  cluster_unreachable: { status: 503, title: 'The cluster cannot be reached', retryable: true },
  database_unavailable: { status: 503, title: 'The database cannot be reached', retryable: true },
  result_unavailable: { status: 503, title: 'The result cannot be read', retryable: true },
  starting: { status: 503, title: 'Not ready yet', retryable: true },
} as const satisfies Record<string, ProblemKind>

export type ProblemCode = keyof typeof problemKinds

export interface ProblemDetails {
  readonly detail: string
  readonly errors?: Problem['errors']
  readonly task?: string
  readonly flag?: string
  /** Sent as `Retry-After`. */
  readonly retryAfterSeconds?: number
  readonly cause?: unknown
}

/** Thrown by a route; the error handler answers it as a problem document. */
export class HttpProblem extends Error {
  readonly code: ProblemCode
  readonly details: ProblemDetails
  constructor(code: ProblemCode, details: ProblemDetails) {
    super(details.detail, { cause: details.cause })
    this.code = code
    this.details = details
  }
}

const problemType = (code: string): string => `https://sluice.dev/errors/${code}`

export function toProblem(error: unknown, traceId: string): Problem {
  if (error instanceof HttpProblem) {
    const { detail, errors, task, flag } = error.details
    const more = { ...(errors && { errors }), ...(task !== undefined && { task }), ...(flag !== undefined && { flag }) }
    return build(error.code, traceId, { detail, ...more })
  }
  if (error instanceof RefusedError) {
    return {
      type: problemType(error.code),
      title: error.status === 404 ? 'Not found' : 'The request is refused',
      status: error.status,
      detail: error.message,
      code: error.code,
      retryable: false,
      trace_id: traceId,
    }
  }
  if (isProviderUnreachable(error)) {
    return build('identity_provider_unreachable', traceId, {
      detail: 'The identity provider does not answer, and nobody else can say who this is.',
    })
  }
  if (error instanceof NoSecretKeyError) return build('no_secret_key', traceId, { detail: error.message })
  const validation = readValidation(error)
  if (validation) return build('invalid_input', traceId, validation)
  if (isDatabaseAway(error)) {
    return build('database_unavailable', traceId, {
      detail:
        'The database cannot be reached. Nothing is known to have been accepted; send the request again with the same Idempotency-Key.',
    })
  }
  return fromFrameworkError(error, traceId)
}

// By its code: the class is loaded only where there is a provider.
export function isProviderUnreachable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'identity_provider_unreachable'
}

function build(code: ProblemCode, traceId: string, details: Omit<ProblemDetails, 'cause'>): Problem {
  const { status, title, retryable } = problemKinds[code]
  return { type: problemType(code), title, status, code, retryable, trace_id: traceId, ...details }
}

const frameworkCodes: Readonly<Record<number, ProblemCode>> = {
  400: 'malformed_request',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
}

function fromFrameworkError(error: unknown, traceId: string): Problem {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  const code = frameworkCodes[status]
  // Its own message only where the caller caused it: what else failed is for the log.
  return code && error instanceof Error
    ? build(code, traceId, { detail: error.message })
    : build('internal_error', traceId, { detail: `An unexpected error; the log has it under trace ${traceId}.` })
}

// fastify-type-provider-zod: one entry per issue, with a JSON pointer below the part of the request that failed.
function readValidation(error: unknown): Omit<ProblemDetails, 'cause'> | undefined {
  if (!(error instanceof Error) || !('validation' in error) || !Array.isArray(error.validation)) return undefined
  const errors = error.validation.map((issue: { instancePath?: unknown; message?: unknown }) => ({
    pointer: typeof issue.instancePath === 'string' ? issue.instancePath : '',
    message: typeof issue.message === 'string' ? issue.message : 'is not valid',
  }))
  return { detail: inputDetail(errors), errors }
}

export function inputDetail(errors: readonly { readonly pointer: string; readonly message: string }[]): string {
  const [first] = errors
  if (!first) return 'The input is not valid.'
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return `${first.pointer || 'The body'}: ${first.message}${more}`
}
