import { taskSchema, type Task } from '../contract/task.ts'
import type { Exchange } from './exchange.ts'
import { pause, type Backoff } from './pause.ts'
import { isPassing } from './sluice-problem.ts'

export interface WaitForTaskOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds without any answer after which the wait ends with UnreachableError. @default 300_000 */
  readonly giveUpAfterMs?: number | undefined
}

/** Seconds the server may hold one question; below the 30 s that the contract allows. */
const holdSeconds = 25

/**
 * Resolves with the task once it has ended, however it ended: look at `status`. There is no deadline but the task's own
 * (which the server enforces), so the wait settles when the task ends, when the signal aborts, when the server refuses
 * (SluiceProblem), or when nobody has answered for `giveUpAfterMs` (UnreachableError).
 */
export async function waitForTask(
  exchange: Exchange,
  backoff: Backoff,
  options: WaitForTaskOptions & { readonly taskId: string },
): Promise<Task> {
  const path = `/tasks/${encodeURIComponent(options.taskId)}`
  let failures = 0
  let lastContact = Date.now()
  for (;;) {
    const asked = Date.now()
    let waitMs: number
    try {
      const query = { wait: holdSeconds }
      const task = await exchange.request(taskSchema, {
        path,
        query,
        signal: options.signal,
        extraMs: holdSeconds * 1000,
      })
      if (task.done) return task
      failures = 0
      lastContact = Date.now()
      // An answer that comes back at once (a proxy, a server that is shutting down) must not become a tight loop.
      waitMs = Date.now() - asked < 1000 ? 1000 : 0
    } catch (error) {
      if (!isPassing(error) || Date.now() - lastContact > (options.giveUpAfterMs ?? 300_000)) throw error
      failures += 1
      waitMs = Math.max(error.retryAfterMs ?? 0, backoff(failures))
    }
    await pause(waitMs, options.signal)
  }
}
