import type { TaskStatus } from '../contract/task-status.ts'
import type { Task } from '../contract/task.ts'
import { ageOf, duration, localTime } from '../client/index.ts'
import { statusText } from './event-text.ts'
import { useNow } from './use-now.ts'

/** A task's status as a word with a mark; style it by `[data-status]`. */
export function StatusBadge({ status }: { readonly status: TaskStatus }) {
  return (
    <span className="sluice-status" data-status={status}>
      {statusText(status)}
    </span>
  )
}

/** Time since acceptance, counting on until the task has ended. */
export function Elapsed({ task }: { readonly task: Task }) {
  const now = useNow(!task.done)
  return <span className="sluice-elapsed">{duration(ageOf(task, now), { whole: !task.done })}</span>
}

/** A moment in the reader's own time and language; the exact one is in the markup and the tooltip. */
export function Moment({ at }: { readonly at: string }) {
  const date = new Date(at)
  return (
    <time dateTime={at} title={date.toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'long' })}>
      {localTime(date)}
    </time>
  )
}
