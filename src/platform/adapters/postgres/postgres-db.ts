import type { Pool, PoolClient } from 'pg'
import { delay, systemClock } from '../../clock.ts'
import type { Db, DbTransaction, Row, TransactionOptions } from '../../db.ts'
import type { Lifecycle } from '../../lifecycle.ts'
import { ServiceNotRunningError } from '../../platform-error.ts'
import { runTransaction, type SqlConnection, type SqlResult } from '../../sql-transaction.ts'
import { fromPostgresError } from './postgres-error.ts'

export interface PostgresDbOptions {
  /** A pool that the process has already: it is used and not ended here, so that there is one pool. */
  readonly pool?: Pool
  /** Where to connect when there is no pool yet, `postgres://user@host:port/database`. */
  readonly url?: string
  /** Most connections of a pool made from `url`. @default 50 */
  readonly poolMax?: number
  /** Called when an idle connection breaks; the pool replaces it by itself. */
  readonly onConnectionError?: (error: Error) => void
}

export interface PostgresDb extends Db, Lifecycle {
  /** The pool, for other adapters of the same process. @throws ServiceNotRunningError before `start` */
  readonly pool: Pool
}

/** PostgreSQL through the process's one pool. Statements end after 30 s unless a transaction says otherwise. */
export function createPostgresDb(options: PostgresDbOptions): PostgresDb {
  let pool = options.pool
  let release = async (): Promise<void> => {}
  let stopped: Promise<void> | undefined

  const current = (): Pool => {
    if (!pool || stopped) throw new ServiceNotRunningError('The database is not running: call start() first')
    return pool
  }
  const once = async (sql: string, params: readonly unknown[] = []): Promise<SqlResult> => {
    try {
      return toResult(await current().query<Row>(sql, [...params]))
    } catch (error) {
      throw fromPostgresError(error)
    }
  }

  return {
    capabilities: { concurrency: true, statementTimeout: true },
    get pool() {
      return current()
    },
    // The row's type is the caller's claim about its own SQL.
    query: async <T extends Row = Row>(sql: string, params?: readonly unknown[]) =>
      (await once(sql, params)).rows as T[],
    execute: async (sql, params) => (await once(sql, params)).count,
    withTx: <T>(work: (tx: DbTransaction) => Promise<T>, txOptions: TransactionOptions = {}) =>
      runTransaction(
        {
          acquire: () => acquire(current()),
          pause: (delayMs) => delay(systemClock, delayMs),
          random: Math.random,
        },
        work,
        txOptions,
      ),
    start: async () => {
      if (!pool) {
        const { createDatabase } = await import('../../../database/database.ts')
        const { url = '', poolMax = 50, onConnectionError = () => {} } = options
        const database = createDatabase({ url, poolMax, onConnectionError })
        pool = database.pool
        release = () => database.stop()
      }
      await once('select 1')
    },
    stop: () => (stopped ??= release()),
  }
}

async function acquire(pool: Pool): Promise<SqlConnection> {
  const client = await connect(pool)
  // A connection that breaks between two statements emits an error that would end the process unheard.
  const onError = () => {}
  client.on('error', onError)
  return {
    run: async (sql, params) => {
      try {
        return toResult(await client.query<Row>(sql, [...params]))
      } catch (error) {
        throw fromPostgresError(error)
      }
    },
    release: (broken) => {
      client.removeListener('error', onError)
      client.release(broken)
    },
  }
}

async function connect(pool: Pool): Promise<PoolClient> {
  try {
    return await pool.connect()
  } catch (error) {
    throw fromPostgresError(error)
  }
}

function toResult(result: { rows: Row[]; rowCount: number | null; command: string }): SqlResult {
  // A SELECT changes nothing, whatever it returns.
  return { rows: result.rows, count: result.command === 'SELECT' ? 0 : (result.rowCount ?? 0) }
}
