import { localTimes, progressText, shortTarget } from '../../src/client/index.ts'
import type { Task } from '../../src/contract/task.ts'
import { Elapsed, Moment, StatusBadge, type TasksView } from '../../src/react/index.ts'
import { linkTo, type Address, type useAddress } from './address.ts'
import { ListFrame } from './list-frame.tsx'
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
    <ListFrame
      label="Tasks"
      view={view}
      shown={view.tasks.length}
      empty={<Empty address={address} go={go} create={create} />}
    >
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
    </ListFrame>
  )
}

function TaskRow({ task, address, go }: { readonly task: Task } & Pick<TaskListProps, 'address' | 'go'>) {
  return (
    <a
      className="task-row"
      data-row={task.task_id}
      aria-current={task.task_id === address.task ? 'true' : undefined}
      {...linkTo({ ...address, task: task.task_id }, go)}
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
