import type { Transaction } from '../database/database.ts'
import type { Queue } from '../queue/queue.ts'
import type { TaskRow } from './task-view.ts'

/** The job of a task that waited for an approval: in the transaction that approves it, and never before. */
export async function releaseTask(tx: Transaction, queue: Queue, task: TaskRow): Promise<void> {
  const inserted = await queue.insert(tx, task.class === 'short' ? 'sluice-short' : 'sluice-long', [
    {
      id: task.task_id,
      eventId: task.request_event_id,
      priority: task.job_priority,
      maxAttempts: task.max_attempts,
      // As at acceptance: the worker ends a run at its deadline, the engine steps in only when the worker does not.
      expireInMs: Math.min(task.timeout_ms + 60_000, 24 * 3_600_000),
      ...(task.start_at && { startAt: task.start_at }),
    },
  ])
  if (inserted.length !== 1) throw new Error(`the engine already knows a job of task ${task.task_id}`)
}
