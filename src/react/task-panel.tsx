import { useState, type ReactNode } from 'react'
import { localTimes, progressText, shortTarget } from '../client/index.ts'
import type { TaskEvent } from '../contract/event.ts'
import type { Task } from '../contract/task.ts'
import { isRetryable } from '../contract/task-status.ts'
import { eventText } from './event-text.ts'
import { Elapsed, Json, type LinksTasks, Moment, StatusBadge, TaskLink } from './task-parts.tsx'
import { useCancelTask, useRetryTask, useTask } from './use-task.ts'

export interface TaskPanelProps extends LinksTasks {
  readonly taskId: string
  /** Put before the title: a way back, for instance. */
  readonly before?: ReactNode
  /** A link to the approval that the task waits for. @default none */
  readonly ticketHref?: (ticketId: string) => string
}

/** One task, live: what it is, why it waits or failed, its timeline, and a way to cancel it or to run it again. Unstyled; classes `sluice-…`. */
export function TaskPanel({ taskId, before, ticketHref, taskHref }: TaskPanelProps) {
  const { state, task, events, stale, error, retry } = useTask(taskId)
  if (task !== null && state === 'ready') {
    return (
      <article className="sluice-task" aria-label={`Task ${task.operation} ${shortTarget(task.target)}`}>
        <TaskHeader task={task} before={before} />
        {stale && <p className="sluice-task-stale">Reconnecting. This may be some seconds old.</p>}
        <TaskSituation task={task} />
        {task.status === 'AWAITING_APPROVAL' && task.ticket !== null && ticketHref !== undefined && (
          <p>
            <a href={ticketHref(task.ticket)}>Open the approval</a>
          </p>
        )}
        <CancelTask key={task.task_id} task={task} />
        <RetryTask key={`again ${task.task_id}`} task={task} taskHref={taskHref} />
        <Timeline events={events} />
        <TaskFacts task={task} events={events} taskHref={taskHref} />
      </article>
    )
  }
  return (
    <article className="sluice-task" aria-label="Task" aria-busy={state === 'loading'}>
      {before}
      {state === 'loading' && <p className="sluice-task-loading">Loading the task…</p>}
      {state === 'missing' && (
        <div className="sluice-task-missing">
          <h2>No such task</h2>
          <p>It is older than what is kept, or belongs to somebody else.</p>
        </div>
      )}
      {state === 'error' && (
        <div className="sluice-task-error" role="alert">
          <h2>The task cannot be shown</h2>
          <p>{error?.message}</p>
          <button type="button" onClick={retry}>
            Try again
          </button>
        </div>
      )}
    </article>
  )
}

function TaskHeader({ task, before }: { readonly task: Task; readonly before: ReactNode }) {
  return (
    <header className="sluice-task-header">
      {before}
      <p className="sluice-task-operation">{task.operation}</p>
      <h2>{shortTarget(task.target) || task.task_id}</h2>
      <p className="sluice-task-state" aria-live="polite">
        <StatusBadge status={task.status} />
        <span aria-live="off">
          <Elapsed task={task} />
        </span>
      </p>
    </header>
  )
}

function TaskSituation({ task }: { readonly task: Task }) {
  const progress = progressText(task)
  const { done, total } = task.progress ?? { done: null, total: null }
  return (
    <>
      {task.error !== null && (
        <div className="sluice-task-problem" data-status={task.status}>
          <strong>{task.error.title}</strong>
          <p>{task.error.detail}</p>
          <code>{task.error.code}</code>
        </div>
      )}
      {task.why_waiting !== null && <p className="sluice-task-why">{localTimes(task.why_waiting)}</p>}
      {progress !== '' && (
        <div className="sluice-task-progress">
          <p>{progress}</p>
          {done !== null && total !== null && <progress value={done} max={total} aria-label="Progress" />}
        </div>
      )}
    </>
  )
}

function CancelTask({ task }: { readonly task: Task }) {
  const { state, message, error, cancel } = useCancelTask(task.task_id)
  const [asking, setAsking] = useState(false)
  if (task.done) return null
  return (
    <div className="sluice-task-cancel" aria-live="polite">
      {message !== null && <p>{message}</p>}
      {error !== null && <p className="sluice-task-refused">{error.message}</p>}
      {state !== 'accepted' && !asking && (
        <button type="button" onClick={() => setAsking(true)}>
          Cancel task
        </button>
      )}
      {state !== 'accepted' && asking && (
        <div role="group" aria-label="Confirm cancelling">
          <p>What the task has changed so far stays.</p>
          {/* Focus moves on with the question, so that a keyboard does not lose its place. */}
          <button type="button" className="sluice-danger" autoFocus disabled={state === 'sending'} onClick={cancel}>
            {state === 'sending' ? 'Cancelling…' : 'Cancel it'}
          </button>
          <button type="button" onClick={() => setAsking(false)}>
            Keep it
          </button>
        </div>
      )}
    </div>
  )
}

function RetryTask({ task, taskHref }: { readonly task: Task } & LinksTasks) {
  const { state, accepted, error, retry } = useRetryTask(task.task_id)
  if (!isRetryable(task.status)) return null
  return (
    <div className="sluice-task-retry" aria-live="polite">
      {error !== null && <p className="sluice-task-refused">{error.message}</p>}
      {accepted !== null && (
        <p>
          Asked for again: <TaskLink taskId={accepted.task_id} taskHref={taskHref} />
        </p>
      )}
      {accepted === null && (
        <button type="button" disabled={state === 'sending'} onClick={retry}>
          {state === 'sending' ? 'Asking again…' : 'Run again'}
        </button>
      )}
    </div>
  )
}

function Timeline({ events }: { readonly events: readonly TaskEvent[] }) {
  return (
    <section className="sluice-timeline" aria-labelledby="sluice-timeline">
      <h3 id="sluice-timeline">Timeline</h3>
      <ol>
        {withoutPassedProgress(events).map((event) => {
          const { title, detail } = eventText(event)
          return (
            <li key={event.seq} data-event={event.type}>
              <span className="sluice-timeline-title">{title}</span>
              <Moment at={event.at} />
              {detail !== null && <span className="sluice-timeline-detail">{detail}</span>}
            </li>
          )
        })}
      </ol>
    </section>
  )
}

/** Of many reports of progress in a row only the last still says something. */
function withoutPassedProgress(events: readonly TaskEvent[]): TaskEvent[] {
  return events.filter(({ type }, n) => type !== 'task.progress' || events[n + 1]?.type !== 'task.progress')
}

function TaskFacts({
  task,
  events,
  taskHref,
}: { readonly task: Task; readonly events: readonly TaskEvent[] } & LinksTasks) {
  const input = events[0]?.type === 'task.requested' ? events[0].data['input'] : undefined
  return (
    <section className="sluice-facts" aria-label="Details">
      <dl>
        <Fact name="Task">
          <code>{task.task_id}</code>
        </Fact>
        <Fact name="Requested by">{[task.requested_by, ...task.joined_by].join(', ')}</Fact>
        <Fact name="Accepted">
          <Moment at={task.created_at} />
        </Fact>
        {task.retry_of !== null && (
          <Fact name="Again after">
            <TaskLink taskId={task.retry_of} taskHref={taskHref} />
          </Fact>
        )}
        {task.attempt > 0 && (
          <Fact name="Attempt">
            {task.attempt} of {task.max_attempts}
          </Fact>
        )}
        {task.deadline_at !== null && !task.done && (
          <Fact name="Deadline">
            <Moment at={task.deadline_at} />
          </Fact>
        )}
        {task.trace_id !== null && (
          <Fact name="Trace">
            <code>{task.trace_id}</code>
          </Fact>
        )}
        {Object.entries(task.labels).map(([name, value]) => (
          <Fact key={name} name={name}>
            {value}
          </Fact>
        ))}
      </dl>
      {input !== undefined && <Json title="Input" value={input} />}
      {task.result !== null && <Json title="Result" value={task.result} />}
    </section>
  )
}

function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}
