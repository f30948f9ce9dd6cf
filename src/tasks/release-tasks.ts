import type { Transaction } from '../database/database.ts'
import type { NewJob, Queue } from '../queue/queue.ts'
import type { TaskRow } from './task-view.ts'
import type { HeldTask } from './ticket-items.sql.ts'

/**
 * The jobs of tasks that waited for an approval: in the transaction that approves them, and never before. Returns the
 * classes to wake after the commit.
 */
export async function releaseTasks(
  tx: Transaction,
  queue: Queue,
  tasks: readonly HeldTask[],
): Promise<readonly TaskRow['class'][]> {
  const released: TaskRow['class'][] = []
  for (const kind of ['short', 'long'] as const) {
    const jobs = tasks.filter((task) => task.class === kind).map(toJob)
    if (jobs.length === 0) continue
    const inserted = await queue.insert(tx, `sluice-${kind}`, jobs)
    if (inserted.length !== jobs.length) throw new Error('the engine already knows a job of an approved task')
    released.push(kind)
  }
  return released
}

const toJob = (task: HeldTask): NewJob => ({
  id: task.task_id,
  eventId: task.request_event_id,
  priority: task.job_priority,
  maxAttempts: task.max_attempts,
  // As at acceptance: the worker ends a run at its deadline, the engine steps in only when the worker does not.
  expireInMs: Math.min(task.timeout_ms + 60_000, 24 * 3_600_000),
  ...(task.start_at && { startAt: task.start_at }),
})
