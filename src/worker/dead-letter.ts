import { toWireId } from '../contract/ids.ts'
import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Logger } from '../platform/logger.ts'
import type { ClaimedJob, Queue } from '../queue/queue.ts'
import { findUndone } from './dead-letter.sql.ts'
import { taskProblem } from './failure.ts'
import { isStale } from './run-task.ts'
import { appendEvents } from './settle.sql.ts'

export interface DeadLetterOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  readonly logger: Logger
  readonly workerId: string
}

/** Ends the tasks of jobs that the engine gave up on: their workers died, again and again. */
export async function endDeadLetters(
  options: DeadLetterOptions,
  jobs: readonly ClaimedJob[],
): Promise<readonly string[]> {
  const again: string[] = []
  for (const job of jobs) {
    try {
      await endDeadLetter(options, job)
    } catch (error) {
      if (isStale(error)) continue
      options.logger.error('dead letter could not be recorded; it will be tried again', { jobId: job.id, error })
      again.push(job.id)
    }
  }
  return again
}

async function endDeadLetter(options: DeadLetterOptions, job: ClaimedJob): Promise<void> {
  if (job.sourceId === undefined) return
  const taskId = job.sourceId
  // A job that was handed on after all (an unburned attempt) is not dead.
  const queue = (await options.queue.givenUp('sluice-short', [taskId])).length > 0 ? 'sluice-short' : 'sluice-long'
  if ((await options.queue.givenUp(queue, [taskId])).length === 0) return
  const ended = await options.database.transaction({ role: 'sluice_worker' }, async (tx) => {
    const task = await findUndone(tx, taskId)
    if (!task) return false
    // The engine counts every run; those that were handed back do not count here.
    if (task.burned < task.maxAttempts) {
      await options.queue.revive(tx, queue, [taskId])
      return false
    }
    const detail = `The worker stopped answering while it ran this task (attempt ${task.burned} of ${task.maxAttempts}; none is left).`
    await appendEvents(tx, [
      {
        task_id: taskId,
        tenant_id: task.tenant,
        type: 'task.failed',
        actor: options.workerId,
        payload: {
          attempt: task.attempt,
          error: taskProblem({ code: 'worker_lost', detail, retryable: false }),
          dead_lettered: true,
        },
      },
    ])
    return true
  })
  if (!ended) return
  options.signals.send('events')
  options.logger.warn('task dead-lettered', { taskId: toWireId('task', taskId) })
}
