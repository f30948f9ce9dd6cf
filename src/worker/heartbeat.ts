import { sql } from 'kysely'
import type { Database, Transaction } from '../database/database.ts'

/** What a process says of itself. */
export interface WorkerDescription {
  readonly workerId: string
  readonly role: 'all' | 'worker'
  readonly version: string
  readonly slots: number
  readonly host: string
  readonly pid: number
  readonly operations: readonly string[]
}

export interface Heartbeat {
  /** Says that the process is alive, and how many attempts it runs. */
  beat(running: number): Promise<void>
  /** Takes the process's row away: it ends in order. */
  leave(): Promise<void>
}

/** How long a row without a heartbeat is kept, so that people see what died. */
const forgetAfter = '1 hour'

export function createHeartbeat(
  database: Database,
  worker: WorkerDescription,
  wallClock: () => number = Date.now,
): Heartbeat {
  const write = (tx: Transaction, running: number) =>
    sql`insert into sluice.workers (worker_id, role, version, slots, host, pid, operations, running, clock_skew_ms)
      values (${worker.workerId}, ${worker.role}, ${worker.version}, ${worker.slots}, ${worker.host}, ${worker.pid},
        ${worker.operations}::text[], ${running}, greatest(-2000000000, least(2000000000,
          ${wallClock()}::float8 - extract(epoch from clock_timestamp()) * 1000))::int)
      on conflict (worker_id) do update set running = excluded.running, clock_skew_ms = excluded.clock_skew_ms,
        heartbeat_at = clock_timestamp()`.execute(tx)
  return {
    beat: (running) =>
      database.transaction({ role: 'sluice_worker' }, async (tx) => {
        await write(tx, running)
        await sql`delete from sluice.workers where heartbeat_at < now() - interval '${sql.raw(forgetAfter)}'`.execute(
          tx,
        )
      }),
    leave: () =>
      database.transaction({ role: 'sluice_worker' }, async (tx) => {
        await sql`delete from sluice.workers where worker_id = ${worker.workerId}`.execute(tx)
      }),
  }
}
