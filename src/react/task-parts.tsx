import type { Ticket } from '../contract/approval.ts'
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

/** What became of an approval request, as a word with a mark. */
export function TicketState({ state }: { readonly state: Ticket['state'] }) {
  return (
    <span className="sluice-status" data-status={ticketTones[state]}>
      {state === 'open' ? 'Awaiting approval' : state.charAt(0).toUpperCase() + state.slice(1)}
    </span>
  )
}

const ticketTones = {
  open: 'AWAITING_APPROVAL',
  approved: 'COMPLETED',
  rejected: 'REJECTED',
  expired: 'EXPIRED',
  withdrawn: 'CANCELLED',
  cancelled: 'CANCELLED',
} as const satisfies Record<Ticket['state'], TaskStatus>

export interface LinksTasks {
  /** Where another task is shown. @default nowhere: its id stands there as it is */
  readonly taskHref?: ((taskId: string) => string) | undefined
}

/** Another task, by its id. */
export function TaskLink({ taskId, taskHref }: { readonly taskId: string } & LinksTasks) {
  return taskHref === undefined ? <code>{taskId}</code> : <a href={taskHref(taskId)}>{taskId}</a>
}

/** A value as it went over the wire, to be folded away. */
export function Json({ title, value }: { readonly title: string; readonly value: unknown }) {
  return (
    <details open>
      <summary>{title}</summary>
      <pre tabIndex={0} aria-label={title}>
        {JSON.stringify(value, null, 2)}
      </pre>
    </details>
  )
}
