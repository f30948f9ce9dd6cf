import { AsyncLocalStorage } from 'node:async_hooks'
import { loadLibrary } from '../load-library.ts'
import type { Db, DbTransaction, Row, TransactionOptions } from '../db.ts'
import { TransactionError } from '../db.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { NotSupportedError, ServiceNotRunningError } from '../platform-error.ts'
import { runTransaction, type SqlConnection, type SqlResult } from '../sql-transaction.ts'

/** The part of PGlite that is used; its package is loaded only when the first statement runs. */
interface Engine {
  query(sql: string, params: unknown[]): Promise<{ rows: Row[]; affectedRows?: number }>
  close(): Promise<void>
}

// PGlite's own reading of these types differs from the driver's: the twin answers what the adapter answers.
const parsers = {
  20: (text: string) => text,
  1082: (text: string) => new Date(`${text}T00:00:00`),
  17: (text: string) => Buffer.from(text.slice(2), 'hex'),
}

/** PostgreSQL in this process: real SQL, real rollback, one connection, nothing on disk. */
export function createPgliteDb(): Db & Lifecycle {
  const inTransaction = new AsyncLocalStorage<true>()
  let engine: Promise<Engine> | undefined
  let stopped = false
  // One connection: whoever has it is followed by whoever asked next.
  let last: Promise<unknown> = Promise.resolve()

  const open = (): Promise<Engine> => {
    if (stopped) throw new ServiceNotRunningError('The database was stopped')
    // Booting takes seconds, so it waits for the first statement.
    return (engine ??= loadLibrary('@electric-sql/pglite', 'in-process PostgreSQL', async () => {
      const { PGlite } = await import('@electric-sql/pglite')
      return PGlite.create({ parsers })
    }))
  }

  const acquire = async (): Promise<SqlConnection> => {
    if (inTransaction.getStore()) {
      throw new TransactionError('The in-process database has one connection, which this transaction holds: use its tx')
    }
    const before = last
    let release = () => {}
    last = new Promise<void>((resolve) => (release = resolve))
    await before
    return { run: async (sql, params) => run(await open(), sql, params), release }
  }

  const once = async (sql: string, params: readonly unknown[] = []): Promise<SqlResult> => {
    const connection = await acquire()
    try {
      return await connection.run(sql, params)
    } finally {
      connection.release(false)
    }
  }

  return {
    capabilities: { concurrency: false, statementTimeout: false },
    // The row's type is the caller's claim about its own SQL.
    query: async <T extends Row = Row>(sql: string, params?: readonly unknown[]) =>
      (await once(sql, params)).rows as T[],
    execute: async (sql, params) => (await once(sql, params)).count,
    withTx: async <T>(work: (tx: DbTransaction) => Promise<T>, options: TransactionOptions = {}) => {
      if (options.statementTimeoutMs !== undefined) {
        throw new NotSupportedError('The in-process database cannot end a statement: leave statementTimeoutMs out')
      }
      return runTransaction(
        { acquire, pause: () => Promise.resolve(), random: () => 0 },
        (tx) => inTransaction.run(true, () => work(tx)),
        options,
      )
    },
    start: async () => {},
    stop: async () => {
      stopped = true
      await last
      await (await engine)?.close()
      engine = undefined
    },
  }
}

async function run(engine: Engine, sql: string, params: readonly unknown[]): Promise<SqlResult> {
  const { rows, affectedRows } = await engine.query(sql, [...params])
  return { rows, count: affectedRows ?? 0 }
}
