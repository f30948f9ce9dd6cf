import type { Database } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Progress } from '../operations/define-operation.ts'
import type { Logger } from '../platform/logger.ts'
import { isStale } from './run-task.ts'
import type { SettledAttempt } from './settle.ts'
import { appendEvents } from './settle.sql.ts'

export interface ProgressWriterOptions {
  readonly database: Database
  readonly signals: SignalSender
  readonly logger: Logger
  readonly workerId: string
  /** Least milliseconds between two events of one task. @default 250 */
  readonly intervalMs?: number
}

export interface ProgressWriter {
  /** Keeps the newest report; the ones between two events are never seen. */
  report(attempt: SettledAttempt, progress: Progress): void
  /** Writes what is still held for this attempt, so that the last report is never lost. */
  flush(attempt: SettledAttempt): Promise<void>
  /** Drops what is held for an attempt that is no longer ours. */
  forget(attempt: SettledAttempt): void
}

interface Held {
  readonly attempt: SettledAttempt
  progress: Progress | undefined
  timer: NodeJS.Timeout | undefined
  writing: Promise<void> | undefined
}

/** Writes `task.progress`, at most four a second and task. */
export function createProgressWriter(options: ProgressWriterOptions): ProgressWriter {
  const held = new Map<string, Held>()
  const keyOf = (attempt: SettledAttempt) => `${attempt.taskId}/${attempt.attempt}`

  const write = async (entry: Held): Promise<void> => {
    const { progress, attempt } = entry
    if (!progress) return
    entry.progress = undefined
    try {
      await options.database.transaction({ role: 'sluice_worker' }, (tx) =>
        appendEvents(tx, [
          {
            task_id: attempt.taskId,
            tenant_id: attempt.tenant,
            type: 'task.progress',
            actor: options.workerId,
            payload: {
              attempt: attempt.attempt,
              progress: {
                done: progress.done ?? null,
                total: progress.total ?? null,
                message: progress.message ?? null,
              },
            },
          },
        ]),
      )
      options.signals.send('events')
    } catch (error) {
      if (!isStale(error)) options.logger.warn('progress could not be written', { error })
    }
  }

  // One after the other: two at once could be numbered the wrong way round.
  const writeNext = (entry: Held): Promise<void> => (entry.writing ?? Promise.resolve()).then(() => write(entry))

  const tick = (entry: Held): void => {
    entry.timer = setTimeout(() => {
      entry.timer = undefined
      if (!entry.progress) return
      entry.writing = writeNext(entry)
      tick(entry)
    }, options.intervalMs ?? 250)
  }

  return {
    report: (attempt, progress) => {
      const key = keyOf(attempt)
      const entry = held.get(key) ?? { attempt, progress: undefined, timer: undefined, writing: undefined }
      held.set(key, entry)
      entry.progress = progress
      if (entry.timer) return
      entry.writing = writeNext(entry)
      tick(entry)
    },
    forget: (attempt) => {
      clearTimeout(held.get(keyOf(attempt))?.timer)
      held.delete(keyOf(attempt))
    },
    flush: async (attempt) => {
      const entry = held.get(keyOf(attempt))
      if (!entry) return
      held.delete(keyOf(attempt))
      clearTimeout(entry.timer)
      await entry.writing
      await write(entry)
    },
  }
}
