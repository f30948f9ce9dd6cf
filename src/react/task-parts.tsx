import type { TaskStatus } from '../contract/task-status.ts'
import type { Task } from '../contract/task.ts'
import { ageOf, duration } from '../client/index.ts'
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

/** Times inside a sentence of the server's (RFC 3339, UTC) in the reader's own time. */
export function localTimes(sentence: string): string {
  return sentence.replace(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (at) => {
    return localTime(new Date(at))
  })
}

/** To the second today; on other days the day says more than the seconds. */
function localTime(date: Date, now = new Date()): string {
  if (date.toDateString() === now.toDateString()) return date.toLocaleTimeString()
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: 'numeric' as const }
  return date.toLocaleString(undefined, { ...year, month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' })
}
