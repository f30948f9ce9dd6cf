import type { Client, Pool } from 'pg'

const schemas = `('sluice', 'pgboss')`

export interface TableTuples {
  readonly table: string
  readonly live: number
  readonly dead: number
  /** Whether autovacuum leaves it alone, by a setting of its own. */
  readonly unattended: boolean
}

/** Live and dead rows of every table, as PostgreSQL counts them. */
export async function readTuples(pool: Pool): Promise<TableTuples[]> {
  const { rows } = await pool.query<TableTuples>(`
    select format('%I.%I', s.schemaname, s.relname) as "table", s.n_live_tup::float8 as live, s.n_dead_tup::float8 as dead,
      coalesce('autovacuum_enabled=false' = any(c.reloptions), false) as unattended
    from pg_stat_user_tables s join pg_class c on c.oid = s.relid where s.schemaname in ${schemas}
    order by s.n_dead_tup desc, 1`)
  return rows
}

export async function isAutovacuumOn(pool: Pool): Promise<boolean> {
  const { rows } = await pool.query<{ on: boolean }>(
    `select current_setting('autovacuum') = 'on' and current_setting('track_counts') = 'on' as on`,
  )
  return rows[0]?.on === true
}

export interface TableSize {
  readonly table: string
  readonly bytes: number
  /** What its rows would take if they were written anew: an estimate from the planner's statistics. */
  readonly neededBytes: number
}

/** Tables by how much more room they take than their rows need. Those that were never analysed are left out. */
export async function readSizes(pool: Pool): Promise<TableSize[]> {
  const { rows } = await pool.query<TableSize>(`
    select format('%I.%I', n.nspname, c.relname) as "table", pg_relation_size(c.oid)::float8 as bytes,
      (ceil(c.reltuples * (28 + w.width) / (b.size - 24) / (f.fill / 100)) * b.size)::float8 as "neededBytes"
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    cross join (select current_setting('block_size')::float8 as size) b
    cross join lateral (select sum((1 - null_frac) * avg_width)::float8 as width from pg_stats s
      where s.schemaname = n.nspname and s.tablename = c.relname) w
    cross join lateral (select coalesce((select option_value::float8 from pg_options_to_table(c.reloptions)
      where option_name = 'fillfactor'), 100) as fill) f
    where n.nspname in ${schemas} and c.relkind = 'r' and c.reltuples > 0 and w.width is not null
    order by 2 - 3 desc`)
  return rows
}

export interface ProcessRow {
  readonly id: string
  readonly role: 'all' | 'api' | 'worker'
  readonly skewMs: number
  readonly alive: boolean
}

/** Processes that are up, or were within the last hour. */
export async function readProcesses(pool: Pool): Promise<ProcessRow[]> {
  const { rows } = await pool.query<ProcessRow>(`
    select worker_id as id, role, clock_skew_ms as "skewMs", heartbeat_at > clock_timestamp() - interval '15 seconds' as alive
    from sluice.workers order by worker_id`)
  return rows
}

/** This machine's clock against the database's, in milliseconds; half of the way there and back taken off. */
export async function measureSkew(pool: Pool): Promise<number> {
  // Once for nothing: the first query of a connection takes longer one way.
  await pool.query('select 1')
  const before = Date.now()
  const { rows } = await pool.query<{ now: string }>(
    'select (extract(epoch from clock_timestamp()) * 1000)::float8 as now',
  )
  return (before + Date.now()) / 2 - Number(rows[0]?.now)
}

export interface LongTransaction {
  readonly pid: number | null
  readonly application: string
  readonly state: string
  readonly seconds: number
  readonly query: string
}

/** Transactions of this database that have been open for so long: while one is, nothing that died since is cleaned up. */
export async function readLongTransactions(pool: Pool, openMs: number): Promise<LongTransaction[]> {
  const { rows } = await pool.query<LongTransaction>(
    `select pid, application_name as application, state, left(query, 120) as query,
       extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
     from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
       and backend_type in ('client backend', 'walsender') and xact_start < clock_timestamp() - make_interval(secs => $1)
     union all select null, 'prepared', 'prepared', gid, extract(epoch from clock_timestamp() - prepared)::float8
     from pg_prepared_xacts where database = current_database() and prepared < clock_timestamp() - make_interval(secs => $1)
     order by seconds desc`,
    [openMs / 1000],
  )
  return rows
}

export interface ListenState {
  /** Connections that listen for Sluice's signals. */
  readonly listeners: number
  /** How full the queue of notifications is, from 0 to 1. */
  readonly usage: number
}

export async function readListenState(pool: Pool): Promise<ListenState> {
  const { rows } = await pool.query<ListenState>(`
    select (select count(*)::int from pg_stat_activity where datname = current_database()
        and application_name = 'sluice listen') as listeners, pg_notification_queue_usage() as usage`)
  return rows[0] ?? { listeners: 0, usage: 0 }
}

/** @param channel lower-case letters, digits and underscores */
export async function listenOn(client: Client, channel: string): Promise<void> {
  await client.query(`listen ${channel}`)
}

export async function notifyOn(pool: Pool, channel: string): Promise<void> {
  await pool.query(`select pg_notify($1, '')`, [channel])
}
