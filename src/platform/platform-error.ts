/** The service cannot be reached or did not answer in time. Whether a change happened is unknown; try again later. */
export class ServiceUnavailableError extends Error {
  readonly code = 'service_unavailable'
  readonly service: string
  constructor(service: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ServiceUnavailableError'
    this.service = service
  }
}

/** This implementation does not do what was asked; its `capabilities` say so beforehand. */
export class NotSupportedError extends Error {
  readonly code = 'not_supported'
  constructor(message: string) {
    super(message)
    this.name = 'NotSupportedError'
  }
}

/** A call was made before `start()`, after `stop()`, or on a service that `createPlatform` was not given. */
export class ServiceNotRunningError extends Error {
  readonly code = 'service_not_running'
  constructor(message: string) {
    super(message)
    this.name = 'ServiceNotRunningError'
  }
}

/** A configured adapter needs an npm package that is not installed. */
export class MissingLibraryError extends Error {
  readonly code = 'missing_library'
  readonly library: string
  constructor(library: string, adapter: string, options?: ErrorOptions) {
    super(
      `The ${adapter} adapter needs the package "${library}", which is not installed. Run: npm install ${library}`,
      options,
    )
    this.name = 'MissingLibraryError'
    this.library = library
  }
}

/** An argument that no retry can make right: a bad key, a negative duration, a value that JSON cannot hold. */
export class InvalidArgumentError extends Error {
  readonly code = 'invalid_argument'
  constructor(message: string) {
    super(message)
    this.name = 'InvalidArgumentError'
  }
}

/** Throws unless `value` is a positive, finite number of milliseconds. */
export function requireDuration(name: string, value: number): void {
  if (!Number.isFinite(value) || value <= 0) {
    throw new InvalidArgumentError(`${name} is ${value}: pass a number of milliseconds above 0`)
  }
}
