import { isTerminalEvent, type TaskEvent } from '../../src/contract/event.ts'
import type { Problem } from '../../src/contract/problem.ts'
import { isTerminal, type TaskStatus } from '../../src/contract/task-status.ts'
import { taskSchema, type Task } from '../../src/contract/task.ts'

/** Tasks and their events in memory, as the API would show them: for tests of what stands in front of the API. */
export interface StubStore {
  readonly tasks: Map<string, Task>
  readonly events: TaskEvent[]
  /** Events up to this `seq` count as dropped: a cursor before it is answered with a reset. */
  oldestCursor: number
  add(fields?: Partial<Task>): Task
  /** Appends an event and moves the task as the projection would. */
  append(taskId: string, type: string, change?: { data?: Record<string, unknown>; task?: Partial<Task> }): TaskEvent
  /** Calls back on each event from now on, until the returned function is called. */
  follow(listener: (event: TaskEvent) => void): () => void
  /** How many follow at the moment: live subscriptions that stand, open streams, held answers. */
  readonly followers: () => number
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** Ids in the order of creation, as UUIDv7 gives them. */
function stubTaskId(n: number): string {
  let digits = ''
  for (let rest = n; digits.length < 25; rest = Math.floor(rest / 32)) digits = alphabet[rest % 32] + digits
  return `task_0${digits}`
}

export function createStubStore(): StubStore {
  const tasks = new Map<string, Task>()
  const events: TaskEvent[] = []
  const followers = new Set<(event: TaskEvent) => void>()
  let count = 0
  const store: StubStore = {
    tasks,
    events,
    oldestCursor: 0,
    add: (fields = {}) => {
      const task = newTask(stubTaskId(++count), fields)
      tasks.set(task.task_id, task)
      store.append(task.task_id, 'task.requested', { data: { operation: task.operation }, task: fields })
      return tasks.get(task.task_id) ?? task
    },
    append: (taskId, type, change = {}) => {
      const task = tasks.get(taskId)
      if (task === undefined) throw new Error(`No task ${taskId}`)
      const at = new Date().toISOString()
      const event: TaskEvent = {
        id: crypto.randomUUID(),
        seq: String(events.length + 1),
        type,
        task_id: taskId,
        actor: type === 'task.requested' ? task.requested_by : 'worker',
        at,
        data: change.data ?? {},
      }
      tasks.set(taskId, taskSchema.parse({ ...task, ...moved(task, type, at), ...change.task }))
      events.push(event)
      for (const follower of followers) follower(event)
      return event
    },
    followers: () => followers.size,
    follow: (listener) => {
      followers.add(listener)
      return () => followers.delete(listener)
    },
  }
  return store
}

const statusAfter: Record<string, TaskStatus> = {
  'task.started': 'RUNNING',
  'task.waiting': 'WAITING',
  'task.retrying': 'RETRYING',
  'task.completed': 'COMPLETED',
  'task.failed': 'FAILED',
  'task.timed_out': 'TIMED_OUT',
  'task.cancelled': 'CANCELLED',
  'task.rejected': 'REJECTED',
  'task.expired': 'EXPIRED',
}

function moved(task: Task, type: string, at: string): Partial<Task> {
  const status = statusAfter[type] ?? task.status
  const started = type === 'task.started' ? { attempt: task.attempt + 1, started_at: task.started_at ?? at } : {}
  const result = type === 'task.completed' ? { result: {} } : {}
  const error = isTerminalEvent(type) && type !== 'task.completed' ? { error: stubProblem(500, `${type} here`) } : {}
  const ended = isTerminal(status) ? { done: true, completed_at: at, why_waiting: null, waiting_for: null } : {}
  return { status, ...started, ...ended, ...result, ...error }
}

export function stubProblem(status: number, detail: string, more: Partial<Problem> = {}): Problem {
  const type = 'https://example.test/problem'
  return { type, title: `Status ${status}`, status, detail, code: 'stub', retryable: status >= 500, ...more }
}

function newTask(id: string, fields: Partial<Task>): Task {
  const self = `/api/v1/tasks/${id}`
  return taskSchema.parse({
    task_id: id,
    operation: 'project.create',
    target: 'default:resourcemanager.miloapis.com/Project//acme',
    status: 'PENDING',
    done: false,
    dead_lettered: false,
    tenant: 'default',
    requested_by: 'requester',
    joined_by: [],
    labels: {},
    batch_id: null,
    retry_of: null,
    schedule_id: null,
    ticket: null,
    progress: null,
    attempt: 0,
    max_attempts: 5,
    next_attempt_at: null,
    deadline_at: null,
    waiting_for: null,
    why_waiting: null,
    result: null,
    error: null,
    created_at: new Date().toISOString(),
    started_at: null,
    completed_at: null,
    trace_id: null,
    links: { self, cancel: `${self}/cancel`, events: `${self}/events` },
    ...fields,
  })
}
