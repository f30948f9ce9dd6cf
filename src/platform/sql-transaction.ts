import { type DbTransaction, type Row, SerializationError, TransactionError, type TransactionOptions } from './db.ts'
import { InvalidArgumentError, requireDuration } from './platform-error.ts'

export interface SqlResult {
  readonly rows: Row[]
  /** Rows that the statement changed. */
  readonly count: number
}

/** One connection, ours alone until it is released. */
export interface SqlConnection {
  run(sql: string, params: readonly unknown[]): Promise<SqlResult>
  /** Gives it back; with `broken` it is closed instead of used again. */
  release(broken: boolean): void
}

export interface TransactionRunner {
  acquire(): Promise<SqlConnection>
  /** Waits between attempts. */
  pause(delayMs: number): Promise<unknown>
  /** 0 to below 1. */
  random(): number
}

const isolationLevels = ['read committed', 'repeatable read', 'serializable'] as const

/** Runs `work` in a transaction, again after serialisation failures and deadlocks. Same for every PostgreSQL here. */
export async function runTransaction<T>(
  runner: TransactionRunner,
  work: (tx: DbTransaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  const begin = beginStatements(options)
  const maxAttempts = options.maxAttempts ?? 5
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
    throw new InvalidArgumentError(`maxAttempts is ${maxAttempts}: pass a whole number from 1`)
  }
  for (let attempt = 1; ; attempt++) {
    const outcome = await attemptOnce(runner, begin, work)
    if ('result' in outcome) return outcome.result
    if (!outcome.retryable) throw outcome.error
    if (attempt >= maxAttempts) {
      throw new SerializationError(
        `The transaction collided with others in ${attempt} attempts; try the request again`,
        {
          cause: outcome.error,
        },
      )
    }
    // Jitter, or the same transactions would collide again.
    await runner.pause((0.5 + runner.random()) * 10 * 2 ** attempt)
  }
}

type Outcome<T> = { readonly result: T } | { readonly error: unknown; readonly retryable: boolean }

async function attemptOnce<T>(
  runner: TransactionRunner,
  begin: readonly string[],
  work: (tx: DbTransaction) => Promise<T>,
): Promise<Outcome<T>> {
  const connection = await runner.acquire()
  const frame = new Frame(connection, 0)
  let broken = false
  try {
    for (const statement of begin) await connection.run(statement, [])
    const result = await frame.use(work)
    await connection.run('commit', [])
    frame.committed()
    return { result }
  } catch (error) {
    // A rollback that cannot get through changes nothing: the server ends the transaction with its connection.
    await connection.run('rollback', []).catch(() => (broken = true))
    // What `work` threw may only wrap the failure that the database reported.
    return { error, retryable: isCollision(error) || isCollision(frame.failure) }
  } finally {
    connection.release(broken)
  }
}

function beginStatements({ isolation = 'read committed', statementTimeoutMs }: TransactionOptions): string[] {
  if (!isolationLevels.includes(isolation))
    throw new InvalidArgumentError(`"${String(isolation)}" is no isolation level`)
  if (statementTimeoutMs === undefined) return [`begin isolation level ${isolation}`]
  requireDuration('statementTimeoutMs', statementTimeoutMs)
  return [`begin isolation level ${isolation}`, `set local statement_timeout = ${Math.ceil(statementTimeoutMs)}`]
}

// serialization_failure and deadlock_detected: the work itself is sound.
function isCollision(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40001' || error.code === '40P01')
}

/** A transaction, or a savepoint in one. */
class Frame implements DbTransaction {
  /** The statement that aborted this frame: until its savepoint is rolled back the server refuses everything. */
  failure: unknown
  readonly #connection: SqlConnection
  readonly #depth: number
  #state: 'open' | 'nested' | 'ended' = 'open'
  #callbacks: (() => void)[] = []

  constructor(connection: SqlConnection, depth: number) {
    this.#connection = connection
    this.#depth = depth
  }

  async query<T extends Row = Row>(sql: string, params: readonly unknown[] = []): Promise<T[]> {
    // The row's type is the caller's claim about its own SQL.
    return (await this.#run(sql, params)).rows as T[]
  }

  async execute(sql: string, params: readonly unknown[] = []): Promise<number> {
    return (await this.#run(sql, params)).count
  }

  afterCommit(callback: () => void): void {
    this.#requireOpen()
    this.#callbacks.push(callback)
  }

  async withTx<T>(work: (tx: DbTransaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    this.#requireOpen()
    if (Object.values(options).some((value) => value !== undefined)) {
      throw new InvalidArgumentError('A nested transaction has the isolation, timeout and attempts of the outer one')
    }
    const name = `nested_${this.#depth + 1}`
    const inner = new Frame(this.#connection, this.#depth + 1)
    this.#state = 'nested'
    try {
      await this.#connection.run(`savepoint ${name}`, [])
      const result = await inner.use(work)
      await this.#connection.run(`release savepoint ${name}`, [])
      this.#callbacks.push(...inner.#callbacks)
      return result
    } catch (error) {
      await this.#undo(name, inner, error)
      throw error
    } finally {
      this.#state = 'open'
    }
  }

  /** Runs `work` and refuses its result when a statement failed and the failure was swallowed: it could not commit. */
  async use<T>(work: (tx: DbTransaction) => Promise<T>): Promise<T> {
    try {
      const result = await work(this)
      if (this.#state === 'nested') {
        throw new TransactionError('The function returned while a nested transaction was still running: await it')
      }
      if (this.failure !== undefined) {
        throw new TransactionError(
          'A statement failed and its error was caught, which cannot undo it: wrap the statement in a nested withTx',
          { cause: this.failure },
        )
      }
      return result
    } finally {
      this.#state = 'ended'
    }
  }

  committed(): void {
    for (const callback of this.#callbacks) callback()
  }

  async #undo(savepoint: string, inner: Frame, error: unknown): Promise<void> {
    // A collision dooms the whole transaction, whatever is undone: the outermost frame runs everything again.
    if (isCollision(error) || isCollision(inner.failure)) this.failure = inner.failure ?? error
    try {
      await this.#connection.run(`rollback to savepoint ${savepoint}`, [])
    } catch (failure) {
      this.failure = failure
    }
  }

  async #run(sql: string, params: readonly unknown[]): Promise<SqlResult> {
    this.#requireOpen()
    try {
      return await this.#connection.run(sql, params)
    } catch (error) {
      this.failure ??= error
      throw error
    }
  }

  #requireOpen(): void {
    if (this.#state === 'ended') throw new TransactionError('This transaction is over: its tx must not be kept')
    if (this.#state === 'nested') {
      throw new TransactionError('A nested transaction is running: use the tx that its function was given')
    }
  }
}
