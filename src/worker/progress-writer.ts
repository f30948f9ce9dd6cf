import type { Database } from '../database/database.ts'
import { isDatabaseAway } from '../database/database-away.ts'
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
  /**
   * Least milliseconds between two events of one task; only the last one, at the task's end, comes sooner.
   * @default 334: three a second, and with the last one four
   */
  readonly intervalMs?: number
}

export interface ProgressWriter {
  /** Keeps the newest report; the ones between two events are never seen. */
  report(attempt: SettledAttempt, progress: Progress): void
  /**
   * Writes what is still held for this attempt, so that the last report is never lost. Rejects while the database is away:
   * the outcome cannot be written then either, and both are tried again.
   */
  flush(attempt: SettledAttempt): Promise<void>
  /** Drops what is held for an attempt that is no longer ours. */
  forget(attempt: SettledAttempt): void
}

interface Held {
  readonly attempt: SettledAttempt
  progress: Progress | undefined
  timer: NodeJS.Timeout | undefined
  writing: Promise<void> | undefined
  /** The attempt has ended: what is written now was the last. */
  closed: boolean
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
      if (isStale(error)) return
      options.logger.warn('progress could not be written', { error })
      if (!isDatabaseAway(error)) return
      // Not lost: the next write has it, unless there is a newer one.
      entry.progress ??= progress
      throw error
    }
  }

  // One after the other: two at once could be numbered the wrong way round. The next one counts from when this one was
  // written, so that a database that is late brings no two of them together.
  const writeNext = (entry: Held): void => {
    const written = write(entry).catch(() => undefined)
    entry.writing = written.then(() => {
      entry.writing = undefined
      if (entry.closed) return
      entry.timer = setTimeout(() => {
        entry.timer = undefined
        if (entry.progress) writeNext(entry)
      }, options.intervalMs ?? 334)
    })
  }

  const close = (entry: Held): void => {
    entry.closed = true
    clearTimeout(entry.timer)
  }

  return {
    report: (attempt, progress) => {
      const key = keyOf(attempt)
      const entry = held.get(key) ?? {
        attempt,
        progress: undefined,
        timer: undefined,
        writing: undefined,
        closed: false,
      }
      held.set(key, entry)
      entry.progress = progress
      if (!entry.timer && !entry.writing) writeNext(entry)
    },
    forget: (attempt) => {
      const entry = held.get(keyOf(attempt))
      if (entry) close(entry)
      held.delete(keyOf(attempt))
    },
    flush: async (attempt) => {
      const entry = held.get(keyOf(attempt))
      if (!entry) return
      close(entry)
      await entry.writing
      await write(entry)
      held.delete(keyOf(attempt))
    },
  }
}
