import { useEffect, useRef } from 'react'
import { localTimes, progressText, shortTarget } from '../../src/client/index.ts'
import type { Task } from '../../src/contract/task.ts'
import { Elapsed, Moment, StatusBadge, type TasksView } from '../../src/react/index.ts'
import { hrefOf, isPlainClick, type Address, type useAddress } from './address.ts'
import { urlOption } from './url-option.ts'
import { defaultView } from './views.ts'

export interface TaskListProps {
  readonly view: TasksView
  readonly address: Address
  readonly go: ReturnType<typeof useAddress>['go']
  readonly create: () => void
}

export function TaskList({ view, address, go, create }: TaskListProps) {
  return (
    <section className="tasks" aria-label="Tasks" aria-busy={view.state === 'loading' || view.changing}>
      {view.stale && <Stale view={view} />}
      {view.state === 'loading' && <Skeleton />}
      {view.state === 'error' && (
        <div className="blank" role="alert">
          <h2>The list cannot be read</h2>
          <p>{view.error?.message}</p>
          <button type="button" onClick={view.retry}>
            Try again
          </button>
        </div>
      )}
      {view.state === 'empty' && <Empty address={address} go={go} create={create} />}
      {view.state === 'ready' && (
        <>
          <div className="task-heads" aria-hidden="true">
            <span>Status</span>
            <span>Task</span>
            <span className="task-who">Requested by</span>
            <span className="task-when">Accepted</span>
            <span>Elapsed</span>
          </div>
          <ol className="task-rows" data-changing={view.changing}>
            {view.tasks.map((task) => (
              <li key={task.task_id}>
                <TaskRow task={task} address={address} go={go} />
              </li>
            ))}
          </ol>
        </>
      )}
      <Paging view={view} />
    </section>
  )
}

function TaskRow({ task, address, go }: { readonly task: Task } & Pick<TaskListProps, 'address' | 'go'>) {
  return (
    <a
      className="task-row"
      data-task={task.task_id}
      href={hrefOf({ ...address, task: task.task_id })}
      aria-current={task.task_id === address.task ? 'true' : undefined}
      onClick={(event) => {
        if (!isPlainClick(event)) return
        event.preventDefault()
        go({ task: task.task_id })
      }}
    >
      <StatusBadge status={task.status} />
      <span className="task-what">
        <span className="task-target">{shortTarget(task.target) || task.task_id}</span>{' '}
        <span className="task-operation">{task.operation}</span>
      </span>
      <TaskDetail task={task} />
      <span className="task-who">{task.requested_by}</span>
      <span className="task-when">
        <Moment at={task.created_at} />
      </span>
      <Elapsed task={task} />
    </a>
  )
}

/** The second line of a row: what went wrong, how far it is, or why it waits. */
function TaskDetail({ task }: { readonly task: Task }) {
  if (task.error !== null) {
    // Cancelled is what somebody wanted.
    const bad = task.status !== 'CANCELLED'
    return <span className={bad ? 'task-detail task-detail-error' : 'task-detail'}>{task.error.detail}</span>
  }
  const text = progressText(task) || (task.why_waiting !== null ? localTimes(task.why_waiting) : '')
  return text === '' ? null : <span className="task-detail">{text}</span>
}

function Stale({ view }: { readonly view: TasksView }) {
  return (
    <p className="stale" role="status">
      Reconnecting to Sluice. What you see may be some seconds old.
      <button type="button" className="quiet" onClick={view.retry}>
        Read again
      </button>
    </p>
  )
}

function Skeleton() {
  return (
    <div className="skeleton">
      <p className="visually-hidden">Loading tasks…</p>
      {Array.from({ length: 8 }, (_, n) => (
        <div key={n} className="skeleton-row" aria-hidden="true">
          <span />
          <span />
          <span />
        </div>
      ))}
    </div>
  )
}

function Empty({ address, go, create }: Pick<TaskListProps, 'address' | 'go' | 'create'>) {
  if (address.view !== defaultView || address.search !== '') {
    return (
      <div className="blank">
        <h2>No such task</h2>
        <p>Nothing matches what you chose above.</p>
        <button type="button" onClick={() => go({ view: defaultView, search: '' })}>
          Show all tasks
        </button>
      </div>
    )
  }
  return (
    <div className="blank">
      <h2>No tasks yet</h2>
      <p>Every change that somebody asks for appears here as a task, and stays in view until it is really done.</p>
      <button type="button" className="primary" onClick={create}>
        Create a project
      </button>
      <p className="fine-print">
        or from a shell:
        <code className="command">
          npx sluice submit project.create --input name=first organization=acme --wait{urlOption()}
        </code>
      </p>
    </div>
  )
}

function Paging({ view }: { readonly view: TasksView }) {
  const { page, first, hasNewer, hasOlder, newer, older } = view.paging
  const shown = useRef(page)
  const nav = useRef<HTMLElement>(null)
  useEffect(() => {
    // Another page is read from its top.
    if (shown.current !== page) nav.current?.parentElement?.scrollIntoView()
    shown.current = page
  }, [page])
  if (!hasNewer && !hasOlder) return null
  return (
    <nav ref={nav} className="paging" aria-label="Pages">
      <button type="button" disabled={!hasNewer} onClick={newer}>
        Newer
      </button>
      <span aria-live="polite">
        {view.tasks.length === 0 ? 'No more' : `${first} to ${first + view.tasks.length - 1}`}
      </span>
      <button type="button" disabled={!hasOlder} onClick={older}>
        Older
      </button>
    </nav>
  )
}
