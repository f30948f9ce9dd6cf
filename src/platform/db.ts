/** A result row: column name to value. 64-bit integers and numerics arrive as strings, timestamps as `Date`. */
export type Row = Record<string, unknown>

/** @default 'read committed' */
export type Isolation = 'read committed' | 'repeatable read' | 'serializable'

export interface TransactionOptions {
  /** @default 'read committed' */
  readonly isolation?: Isolation
  /** Milliseconds one statement may take. Needs the capability `statementTimeout`. @default the adapter's, 30_000 */
  readonly statementTimeoutMs?: number
  /** Runs of `work` before a serialisation failure or deadlock reaches the caller. @default 5 */
  readonly maxAttempts?: number
}

/** What both the database and an open transaction offer. Parameters are `$1, $2, …`, never part of the text. */
export interface DbSession {
  /** Runs one statement and returns its rows. SQL errors carry their SQLSTATE in `code`. */
  query<T extends Row = Row>(sql: string, params?: readonly unknown[]): Promise<T[]>
  /** Runs one statement and returns how many rows it changed. */
  execute(sql: string, params?: readonly unknown[]): Promise<number>
  /**
   * Commits when `work` returns and rolls back when it throws. `work` must use only the `tx` it is given, and may run
   * again after a serialisation failure or deadlock, so it touches nothing but the database.
   * On a transaction it is a savepoint: what `work` throws undoes only what `work` did.
   * @throws TransactionError when the transaction can no longer commit, or is used in a way that would surprise
   */
  withTx<T>(work: (tx: DbTransaction) => Promise<T>, options?: TransactionOptions): Promise<T>
}

/** An open transaction. Who receives one never commits it; afterwards it refuses every call. */
export interface DbTransaction extends DbSession {
  /** Runs `callback` after the outermost commit, never after a rollback. It must not throw. */
  afterCommit(callback: () => void): void
}

export interface DbCapabilities {
  /** Transactions run at the same time, on connections of their own. */
  readonly concurrency: boolean
  /** A statement that takes too long is ended by the server. */
  readonly statementTimeout: boolean
}

/** PostgreSQL, and the only way to a transaction. */
export interface Db extends DbSession {
  readonly capabilities: DbCapabilities
}

/** The server ended a statement that took longer than its limit. The transaction rolls back. */
export class StatementTimeoutError extends Error {
  readonly code = 'statement_timeout'
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StatementTimeoutError'
  }
}

/** Concurrent transactions kept colliding until the attempts were used up. Try the whole request again. */
export class SerializationError extends Error {
  readonly code = 'serialization_failure'
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SerializationError'
  }
}

/** The transaction is over, aborted by an earlier error, or busy with a nested one. */
export class TransactionError extends Error {
  readonly code = 'transaction_unusable'
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'TransactionError'
  }
}
