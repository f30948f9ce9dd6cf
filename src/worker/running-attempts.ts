import { AttemptAborted } from './abort-reason.ts'

export interface RunningAttempt {
  readonly signal: AbortSignal
  abort(why: AttemptAborted['why']): void
  end(): void
}

/** The attempts that this process runs, by task: whom a cancel or a shutdown reaches. */
export interface RunningAttempts {
  start(taskId: string, engineSignal: AbortSignal): RunningAttempt
  /** UUIDs of the tasks that run here. */
  taskIds(): string[]
  /** @param by who asked for it */
  cancel(taskId: string, by: string): void
  /** Also those that start from now on. */
  abortAll(why: AttemptAborted['why']): void
  readonly count: number
}

export function createRunningAttempts(): RunningAttempts {
  const running = new Map<string, Set<AbortController>>()
  let all: AttemptAborted['why'] | undefined
  return {
    start: (taskId, engineSignal) => {
      const controller = new AbortController()
      const lost = () => controller.abort(new AttemptAborted('lost'))
      engineSignal.addEventListener('abort', lost, { once: true })
      const set = running.get(taskId) ?? new Set()
      running.set(taskId, set.add(controller))
      // Its job was claimed a moment before.
      if (all) controller.abort(new AttemptAborted(all))
      return {
        signal: controller.signal,
        abort: (why) => controller.abort(new AttemptAborted(why)),
        end: () => {
          engineSignal.removeEventListener('abort', lost)
          set.delete(controller)
          if (set.size === 0 && running.get(taskId) === set) running.delete(taskId)
        },
      }
    },
    taskIds: () => [...running.keys()],
    cancel: (taskId, by) => {
      for (const controller of running.get(taskId) ?? []) controller.abort(new AttemptAborted('cancel', by))
    },
    abortAll: (why) => {
      all = why
      for (const set of running.values()) for (const controller of set) controller.abort(new AttemptAborted(why))
    },
    get count() {
      return running.size
    },
  }
}
