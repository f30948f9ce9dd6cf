import type { JsonObject } from './json.ts'

export interface StatusCause {
  readonly reason?: string
  readonly message: string
  readonly field?: string
}

export interface StatusDetails {
  readonly name?: string
  readonly group?: string
  readonly kind?: string
  readonly uid?: string
  readonly causes?: readonly StatusCause[]
  readonly retryAfterSeconds?: number
}

export interface StatusErrorOptions {
  readonly code: number
  /** The API's reason, such as `NotFound`; empty where the API server gives none. */
  readonly reason: string
  readonly message: string
  readonly details?: StatusDetails
  readonly metadata?: JsonObject
}

/** What a resource is called in messages. */
export interface ResourceName {
  readonly group: string
  readonly plural: string
}

/** A refusal, answered as a `v1 Status` object with the messages and reasons of the Kubernetes API. */
export class StatusError extends Error {
  readonly code: number
  readonly reason: string
  readonly details: StatusDetails | undefined
  readonly metadata: JsonObject

  constructor(options: StatusErrorOptions) {
    super(options.message)
    this.name = 'StatusError'
    this.code = options.code
    this.reason = options.reason
    this.details = options.details
    this.metadata = options.metadata ?? {}
  }

  toStatus(): JsonObject {
    const status: JsonObject = { kind: 'Status', apiVersion: 'v1', metadata: this.metadata, status: 'Failure' }
    status['message'] = this.message
    if (this.reason !== '') status['reason'] = this.reason
    // Details hold only strings, numbers and lists of them.
    if (this.details !== undefined) status['details'] = this.details as unknown as JsonObject
    status['code'] = this.code
    return status
  }
}

export function qualifiedName(resource: ResourceName): string {
  return resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`
}

export function notFound(resource: ResourceName, name: string): StatusError {
  return new StatusError({
    code: 404,
    reason: 'NotFound',
    message: `${qualifiedName(resource)} ${JSON.stringify(name)} not found`,
    details: detailsOf(resource, name),
  })
}

export function pathNotFound(): StatusError {
  return new StatusError({
    code: 404,
    reason: 'NotFound',
    message: 'the server could not find the requested resource',
    details: {},
  })
}

/** Where no part of the API listens, its HTTP server answers, and not with a Status. */
export class PageNotFound extends StatusError {
  constructor() {
    super({ code: 404, reason: '', message: '404 page not found' })
  }
}

export function alreadyExists(resource: ResourceName, name: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'AlreadyExists',
    message: `${qualifiedName(resource)} ${JSON.stringify(name)} already exists`,
    details: detailsOf(resource, name),
  })
}

export function conflict(resource: ResourceName, name: string, why: string): StatusError {
  return new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${qualifiedName(resource)} ${JSON.stringify(name)}: ${why}`,
    details: detailsOf(resource, name),
  })
}

export function staleVersion(resource: ResourceName, name: string): StatusError {
  const why = 'the object has been modified; please apply your changes to the latest version and try again'
  return conflict(resource, name, why)
}

export function badRequest(message: string): StatusError {
  return new StatusError({ code: 400, reason: 'BadRequest', message })
}

export function methodNotAllowed(message = 'the server does not allow this method on the requested resource') {
  return new StatusError({ code: 405, reason: 'MethodNotAllowed', message, details: {} })
}

export function unsupportedMediaType(accepted: readonly string[]): StatusError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`
  return new StatusError({ code: 415, reason: 'UnsupportedMediaType', message })
}

export function notAcceptable(accepted: readonly string[]): StatusError {
  const message = `only the following media types are accepted: ${accepted.join(', ')}`
  return new StatusError({ code: 406, reason: 'NotAcceptable', message })
}

export function unauthorized(): StatusError {
  return new StatusError({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' })
}

export function expired(message: string, metadata?: JsonObject): StatusError {
  return new StatusError({ code: 410, reason: 'Expired', message, ...(metadata === undefined ? {} : { metadata }) })
}

export function tooLargeResourceVersion(wanted: number, current: number): StatusError {
  return new StatusError({
    code: 504,
    reason: 'Timeout',
    message: `Timeout: Too large resource version: ${wanted}, current: ${current}`,
    details: {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    },
  })
}

/** An error that upstream reports without a reason: plain errors of its machinery become code 500. */
export function plainError(message: string): StatusError {
  return new StatusError({ code: 500, reason: '', message })
}

function detailsOf(resource: ResourceName, name: string): StatusDetails {
  return { name, ...(resource.group === '' ? {} : { group: resource.group }), kind: resource.plural }
}
