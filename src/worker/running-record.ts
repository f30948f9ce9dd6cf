import type { Database } from '../database/database.ts'
import type { PerformContext, ResourceRecord } from '../operations/define-operation.ts'
import { TargetUnavailableError } from '../operations/errors.ts'
import { findRunningRecord, writeRecords } from './record.sql.ts'
import { appendEvents } from './settle.sql.ts'
import type { SettledAttempt } from './settle.ts'

/** Milliseconds before a task looks again whether another one's record has ended. */
const lookAgainMs = 2_000

/** How an operation records what it does before its end. */
export function runningRecord(
  { database, workerId }: { readonly database: Database; readonly workerId: string },
  attempt: SettledAttempt,
): Pick<PerformContext, 'startRecord' | 'startedRecord'> {
  const { taskId, tenant } = attempt
  const start = (record: ResourceRecord): Promise<number> =>
    database.transaction({ role: 'sluice_worker' }, async (tx) => {
      // First, since it is the fence: an attempt that was taken over writes nothing.
      await appendEvents(tx, [
        {
          task_id: taskId,
          tenant_id: tenant,
          type: 'task.progress',
          actor: workerId,
          payload: { attempt: attempt.attempt, record: { kind: record.ref.kind, ...named(record) } },
        },
      ])
      return writeRecords(tx, [{ tenant, taskId, record }])
    })
  return {
    startRecord: async (record) => {
      if ((await start(record)) === 1) return
      const { kind, name } = record.ref
      throw new TargetUnavailableError(`Another task is at work on ${kind} ${name}; this one waits for its end.`, {
        code: 'already_running',
        retryAfterMs: lookAgainMs,
      })
    },
    startedRecord: () => database.transaction({ role: 'sluice_worker' }, (tx) => findRunningRecord(tx, taskId)),
  }
}

const named = ({ ref: { namespace, name } }: ResourceRecord) => ({ namespace: namespace ?? null, name })
