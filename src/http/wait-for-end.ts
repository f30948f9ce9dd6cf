import type { FastifyRequest } from 'fastify'
import { isTerminal } from '../contract/task-status.ts'
import { findTask } from '../tasks/find-tasks.ts'
import type { TaskRow } from '../tasks/task-view.ts'
import type { Services } from './services.ts'

const maxWaitMs = 30_000

/** `Prefer: wait=N` (RFC 7240) in milliseconds, at most 30 s; undefined when the caller did not ask. */
export function preferredWaitMs(request: FastifyRequest): number | undefined {
  const header = request.headers['prefer']
  const seconds = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?/i.exec(String(header ?? ''))?.[1]
  return seconds === undefined ? undefined : Math.min(Number(seconds) * 1000, maxWaitMs)
}

export interface EndWait {
  readonly tenant: string
  readonly taskId: string
  readonly waitMs: number
}

/** The task as it is when it ends, or after `waitMs`. Undefined when the tenant has no such task. */
export async function waitForEnd(services: Services, wait: EndWait): Promise<TaskRow | undefined> {
  const { tenant, taskId } = wait
  const watching = watchForMore(services, wait)
  try {
    const task = await findTask(services.database, tenant, taskId)
    if (!task || isTerminal(task.status)) return task
    await watching.ended
    return await findTask(services.database, tenant, taskId)
  } finally {
    watching.stop()
  }
}

const terminalEvents = /^task\.(completed|failed|timed_out|cancelled|rejected|expired)$/

// Listens before the first look, so that an end between the two is not missed.
function watchForMore(services: Services, { tenant, taskId, waitMs }: EndWait): { ended: Promise<void>; stop(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, waitMs)
  const unsubscribe = services.feed.subscribe({
    tenant,
    taskId,
    onEvent: ({ type }) => {
      if (terminalEvents.test(type)) resolve()
    },
    // The look after the wait tells the truth.
    onError: () => resolve(),
  })
  return {
    ended: promise,
    stop: () => {
      clearTimeout(timer)
      unsubscribe()
    },
  }
}
