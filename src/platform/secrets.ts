export interface SecretChange {
  readonly name: string
  /** The value now; `undefined` when there is none (any more). */
  readonly value: string | undefined
}

export interface SecretWatch {
  /** Calls the listener no more and releases the watch. */
  stop(): Promise<void>
}

export interface SecretsCapabilities {
  /** Changes become visible while the process runs. Without it `watch` reports the first value only. */
  readonly liveWatch: boolean
}

/**
 * Values that must not be seen. A name is one or two parts of lower-case letters, digits, `-` and `.`, joined by `/`:
 * `db-password`, `db/password`. Every call reads anew; nothing is kept.
 */
export interface Secrets {
  readonly capabilities: SecretsCapabilities
  /** @throws SecretNotFoundError, ServiceUnavailableError */
  get(name: string): Promise<string>
  /** Names that start with `prefix`, sorted; never values. @throws ServiceUnavailableError */
  list(prefix?: string): Promise<string[]>
  /** Calls `listener` with the value now and after every change. Resolves once the first call was made. */
  watch(name: string, listener: (change: SecretChange) => void): Promise<SecretWatch>
}

/** There is no secret with this name. */
export class SecretNotFoundError extends Error {
  readonly code = 'secret_not_found'
  readonly secret: string
  constructor(secret: string, where: string) {
    super(`There is no secret "${secret}" (looked in ${where})`)
    this.name = 'SecretNotFoundError'
    this.secret = secret
  }
}
