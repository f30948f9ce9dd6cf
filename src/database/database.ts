import { Kysely, PostgresDialect, sql } from 'kysely'
import { Pool, type PoolConfig } from 'pg'
import type { Tables } from './tables.ts'

declare const inTransaction: unique symbol

/**
 * An open transaction: the query builder, raw SQL (`sql`…`.execute(tx)`) and the queue all take it.
 * Who receives one never commits it.
 */
export type Transaction = Kysely<Tables> & { readonly [inTransaction]: true }

/** Who writes: each role may do only what the migrations granted it. */
export type DatabaseRole = 'sluice_api' | 'sluice_worker' | 'sluice_feed'

export interface TransactionScope {
  readonly role: DatabaseRole
  /** The one tenant whose rows `sluice_api` sees. The other roles pass all tenants. */
  readonly tenant?: string
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
  stop(): Promise<void>
}

const tenantPattern = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Tenant ids are lower-case DNS labels: they stand in SQL settings, in URLs and in metrics. */
export function isTenantId(text: string): boolean {
  return tenantPattern.test(text)
}

export function createDatabase(options: DatabaseOptions): Database {
  const pool = new Pool(poolConfig(options))
  pool.on('error', (error) => options.onConnectionError?.(error))
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }).withSchema('sluice')
  let stopped: Promise<void> | undefined

  return {
    url: options.url,
    pool,
    transaction: (scope, work) =>
      kysely.connection().execute(async (connection) => {
        await begin(connection, scope)
        // The connection is ours alone between BEGIN and COMMIT, which is all that the brand says.
        const tx = connection as Transaction
        try {
          const result = await work(tx)
          await sql`commit`.execute(tx)
          return result
        } catch (error) {
          // A rollback that cannot get through changes nothing: the server ends the transaction with its connection.
          await sql`rollback`.execute(tx).catch(() => undefined)
          throw error
        }
      }),
    stop: () => (stopped ??= kysely.destroy()),
  }
}

// One round trip: role and tenant travel with the BEGIN and end with the transaction.
async function begin(connection: Kysely<Tables>, scope: TransactionScope): Promise<void> {
  if (scope.tenant !== undefined && !isTenantId(scope.tenant)) {
    throw new Error(`Tenant ${JSON.stringify(scope.tenant)} is not a tenant id (lower-case letters, digits, hyphens)`)
  }
  await sql
    .raw(
      `begin; select set_config('role', '${scope.role}', true), set_config('sluice.tenant', '${scope.tenant ?? ''}', true)`,
    )
    .execute(connection)
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
