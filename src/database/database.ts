import { setTimeout as delay } from 'node:timers/promises'
import { Kysely, PostgresDialect, type PostgresPool } from 'kysely'
import { Pool, type PoolClient, type PoolConfig, type QueryResult, type QueryResultRow } from 'pg'
import { isConnectionLost, isDatabaseSilent } from './database-away.ts'
import type { Tables } from './tables.ts'

declare const inTransaction: unique symbol

/**
 * An open transaction: the query builder, raw SQL (`sql`…`.execute(tx)`) and the queue all take it.
 * Who receives one never commits it.
 */
export type Transaction = Kysely<Tables> & { readonly [inTransaction]: true }

/** Who writes: each role may do only what the migrations granted it. */
export type DatabaseRole = 'sluice_api' | 'sluice_worker' | 'sluice_feed' | 'sluice_retention'

export interface TransactionScope {
  readonly role: DatabaseRole
  /** The one tenant whose rows `sluice_api` sees. The other roles pass all tenants. */
  readonly tenant?: string
  /** Whether PostgreSQL refuses every write in it. @default false */
  readonly readOnly?: boolean
}

export interface DatabaseOptions {
  readonly url: string
  /** Most connections in the pool. @default 50 */
  readonly poolMax?: number
  /** Connections kept open while idle. @default 5 */
  readonly poolMin?: number
  readonly applicationName?: string
  /** Called when an idle connection breaks; the pool replaces it by itself. */
  readonly onConnectionError?: (error: Error) => void
}

/** The one pool of the process, and the only way to open a transaction. */
export interface Database {
  readonly url: string
  readonly pool: Pool
  /** Commits when `work` returns, rolls back when it throws. Read committed. No network inside. */
  transaction<T>(scope: TransactionScope, work: (tx: Transaction) => Promise<T>): Promise<T>
  /**
   * Runs one statement whose commit does not wait for the disk: a crash of the server may lose it, and what was written
   * before it never. Only for what is said again then. A text that begins its own transaction runs as it is.
   */
  unflushed(text: string, values?: unknown[]): Promise<QueryResult>
  stop(): Promise<void>
}

const connections = new WeakMap<Transaction, PoolClient>()
const statementNames = new Map<string, string>()

/**
 * Runs a statement that PostgreSQL parses and plans once per connection: for the hot path, and only where one plan is
 * right however the tables grow. The text is constant; a name is kept for each.
 */
export async function queryPrepared<Row extends QueryResultRow>(
  tx: Transaction,
  text: string,
  values: unknown[],
): Promise<QueryResult<Row>> {
  const connection = connections.get(tx)
  if (!connection) throw new Error('a prepared statement needs a transaction of this database')
  const name = statementNames.get(text) ?? `sluice_${statementNames.size + 1}`
  statementNames.set(text, name)
  return connection.query<Row>({ name, text, values })
}

const tenantPattern = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Tenant ids are lower-case DNS labels: they stand in SQL settings, in URLs and in metrics. */
export function isTenantId(text: string): boolean {
  return tenantPattern.test(text)
}

export function createDatabase(options: DatabaseOptions): Database {
  const pool = new Pool(poolConfig(options))
  pool.on('error', (error) => {
    // The pool hangs the whole connection on its error, which would put hundreds of lines in the log.
    Reflect.deleteProperty(error, 'client')
    options.onConnectionError?.(error)
  })
  // The pool listens while a connection is idle. One that dies between two statements of a transaction would otherwise
  // end the process; the next statement fails by itself.
  pool.on('connect', (client) => client.on('error', () => undefined))
  const open = new Set<PoolClient>()
  pool.on('connect', (client) => open.add(client))
  pool.on('remove', (client) => open.delete(client))
  const builders = new WeakMap<PoolClient, Transaction>()
  let stopped: Promise<void> | undefined

  // A server that was restarted leaves dead connections in the pool until this process has heard of each. Nothing has
  // happened on one whose BEGIN fails: the next is taken, down to a new one, which knows whether the server is there.
  const proven = new WeakSet<PoolClient>()
  const beginOn = async (begin: string): Promise<PoolClient> => {
    for (;;) {
      const client = await pool.connect()
      try {
        await client.query(begin)
        proven.add(client)
        return client
      } catch (error) {
        client.release(true)
        if (!proven.has(client) || !isConnectionLost(error)) throw error
      }
    }
  }

  const within = async <T>(begin: string, work: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await beginOn(begin)
    let broken: Error | undefined
    try {
      const result = await work(client)
      await client.query('commit')
      return result
    } catch (error) {
      // A connection that cannot roll back is still inside the transaction: nobody may use it again. One that said
      // nothing will not answer this either.
      if (error instanceof Error && isDatabaseSilent(error)) broken = error
      else await client.query('rollback').catch((failure: Error) => (broken = failure))
      throw error
    } finally {
      client.release(broken)
    }
  }

  return {
    url: options.url,
    pool,
    transaction: async (scope, work) =>
      within(beginAs(scope), (client) => {
        const tx = builders.get(client) ?? createBuilder(client)
        builders.set(client, tx)
        connections.set(tx, client)
        return work(tx)
      }),
    unflushed: (text, values) => {
      if (/^\s*begin\b/i.test(text)) return pool.query(text, values)
      if (values?.length) return within(`begin; ${unflushed}`, (client) => client.query(text, values))
      // One round trip: PostgreSQL runs the statements of one text as one transaction.
      return pool.query(`${unflushed}; ${text}`).then(withoutFirst)
    },
    stop: () => (stopped ??= closePool(pool, open)),
  }
}

const unflushed = 'set local synchronous_commit = off'

// Of several statements there are several results, which the typings do not know.
function withoutFirst(results: QueryResult): QueryResult {
  const [, ...rest] = results as unknown as QueryResult[]
  return (rest.length === 1 ? rest[0] : rest) as QueryResult
}

const closeMs = 2_000

/** The pool forgets a connection before it is closed: a server that is stopped right after would still find it open. */
async function closePool(pool: Pool, open: ReadonlySet<PoolClient>): Promise<void> {
  await pool.end()
  const closed = new AbortController()
  const look = () => open.size === 0 && closed.abort()
  pool.on('remove', look)
  look()
  // A connection that leads nowhere never says that it is closed.
  await delay(closeMs, undefined, { signal: closed.signal }).catch(() => undefined)
}

// The query builder over one connection, which the transaction holds and releases.
function createBuilder(client: PoolClient): Transaction {
  // Kysely's own idea of a pool client, which `pg`'s overloads of `query` fit but do not match.
  const held = new Proxy(client, {
    get: (target, key) => (key === 'release' ? () => undefined : (Reflect.get(target, key) as unknown)),
  })
  const pool = { connect: async () => held, end: async () => undefined, options: {} } as unknown as PostgresPool
  const builder = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }).withSchema('sluice')
  // The connection is used between BEGIN and COMMIT only, which is all that the brand says.
  return builder as Transaction
}

// One round trip: role and tenant travel with the BEGIN and end with the transaction.
function beginAs(scope: TransactionScope): string {
  if (scope.tenant !== undefined && !isTenantId(scope.tenant)) {
    throw new Error(`Tenant ${JSON.stringify(scope.tenant)} is not a tenant id (lower-case letters, digits, hyphens)`)
  }
  return `begin${scope.readOnly === true ? ' read only' : ''}; select set_config('role', '${scope.role}', true), set_config('sluice.tenant', '${scope.tenant ?? ''}', true)`
}

function poolConfig(options: DatabaseOptions): PoolConfig {
  return {
    connectionString: options.url,
    application_name: options.applicationName ?? 'sluice',
    max: options.poolMax ?? 50,
    min: Math.min(options.poolMin ?? 5, options.poolMax ?? 50),
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    // A black-holed connection would otherwise hang for ever; a worker paused inside its outcome
    // transaction would otherwise stop the rescue of its whole queue.
    query_timeout: 35_000,
    statement_timeout: 30_000,
    lock_timeout: 10_000,
    idle_in_transaction_session_timeout: 5_000,
  }
}
