import type { Database } from '../database/database.ts'
import { deleteWorker, forgetDeadWorkers, type WorkerDescription, writeHeartbeat } from './heartbeat.sql.ts'

export interface Heartbeat {
  /** Says that the process is alive, and how many attempts it runs. */
  beat(running: number): Promise<void>
  /** Takes the process's row away: it ends in order. */
  leave(): Promise<void>
}

export function createHeartbeat(
  database: Database,
  worker: WorkerDescription,
  wallClock: () => number = Date.now,
): Heartbeat {
  return {
    beat: (running) =>
      database.transaction({ role: 'sluice_worker' }, async (tx) => {
        await writeHeartbeat(tx, worker, { running, wallClock: wallClock() })
        await forgetDeadWorkers(tx)
      }),
    leave: () => database.transaction({ role: 'sluice_worker' }, (tx) => deleteWorker(tx, worker.workerId)),
  }
}
