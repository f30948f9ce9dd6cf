import { sql } from 'kysely'
import type { Transaction } from '../database/database.ts'

/** What a process says of itself. */
export interface WorkerDescription {
  readonly workerId: string
  readonly role: 'all' | 'api' | 'worker'
  readonly version: string
  readonly slots: number
  readonly host: string
  readonly pid: number
  readonly operations: readonly string[]
}

export async function writeHeartbeat(
  tx: Transaction,
  worker: WorkerDescription,
  now: { readonly running: number; readonly wallClock: number },
): Promise<void> {
  await sql`insert into sluice.workers (worker_id, role, version, slots, host, pid, operations, running, clock_skew_ms)
    values (${worker.workerId}, ${worker.role}, ${worker.version}, ${worker.slots}, ${worker.host}, ${worker.pid},
      ${worker.operations}::text[], ${now.running}, greatest(-2000000000, least(2000000000,
        ${now.wallClock}::float8 - extract(epoch from clock_timestamp()) * 1000))::int)
    on conflict (worker_id) do update set running = excluded.running, clock_skew_ms = excluded.clock_skew_ms,
      heartbeat_at = clock_timestamp()`.execute(tx)
}

/** A row without a heartbeat is kept for an hour, so that people see what died. */
export async function forgetDeadWorkers(tx: Transaction): Promise<void> {
  await sql`delete from sluice.workers where heartbeat_at < now() - interval '1 hour'`.execute(tx)
}

export async function deleteWorker(tx: Transaction, workerId: string): Promise<void> {
  await sql`delete from sluice.workers where worker_id = ${workerId}`.execute(tx)
}
