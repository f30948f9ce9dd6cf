import type { Database } from '../database/database.ts'
import type { Logger } from '../platform/logger.ts'
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

export const heartbeatMs = 5_000

export interface Presence {
  start(): Promise<void>
  stop(): Promise<void>
}

/** Keeps a process in the registry that serves the API only: whoever looks sees its version and its clock. */
export function createPresence(
  database: Database,
  logger: Logger,
  process: Omit<WorkerDescription, 'role' | 'slots' | 'operations'>,
): Presence {
  const heartbeat = createHeartbeat(database, { ...process, role: 'api', slots: 0, operations: [] })
  let timer: NodeJS.Timeout | undefined
  let beating: Promise<void> = Promise.resolve()
  const beat = () => {
    beating = heartbeat
      .beat(0)
      .catch((error: unknown) => logger.warn('the process could not say that it is up', { error }))
  }
  return {
    start: async () => {
      await heartbeat.beat(0)
      timer = setInterval(beat, heartbeatMs)
    },
    stop: async () => {
      if (!timer) return
      clearInterval(timer)
      timer = undefined
      await beating
      await heartbeat.leave().catch((error: unknown) => logger.warn('the process could not sign off', { error }))
    },
  }
}
