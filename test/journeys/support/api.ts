import { eventPageSchema, type TaskEvent } from '../../../src/contract/event.ts'
import { problemSchema, type Problem } from '../../../src/contract/problem.ts'
import { acceptedSchema, taskSchema, type Accepted, type Task } from '../../../src/contract/task.ts'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Parsed where it is JSON. */
  readonly body: unknown
}

export interface Request {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** The HTTP API as one principal sees it: plain requests, and what most journeys ask again and again. */
export interface Api {
  readonly url: string
  readonly token: string
  /** `path` below `/api/v1`, or from the root where it begins with `//`. */
  send(method: string, path: string, request?: Request): Promise<Answer>
  /** Asks for a project; fails unless the answer is 202. */
  createProject(name: string, more?: Record<string, unknown>): Promise<Accepted>
  task(taskId: string): Promise<Task>
  /** The task when it has ended. */
  end(taskId: string): Promise<Task>
  /** The timeline, from its beginning. */
  events(taskId: string): Promise<TaskEvent[]>
}

/** Longer than the longest that anything here may take, so that a test says what it waited for. */
const endDeadlineMs = 60_000

export function connectApi(url: string, token: string): Api {
  const api: Api = {
    url,
    token,
    send: async (method, path, { body, headers } = {}) => {
      const response = await fetch(path.startsWith('//') ? `${url}${path.slice(1)}` : `${url}/api/v1${path}`, {
        method,
        headers: {
          ...(token !== '' && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(endDeadlineMs),
      })
      const text = await response.text()
      const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '')
      return {
        status: response.status,
        headers: response.headers,
        body: isJson && text !== '' ? JSON.parse(text) : text,
      }
    },
    createProject: async (name, more = {}) =>
      accepted(await api.send('POST', '/projects', { body: { name, organization: 'acme', ...more } })),
    task: async (taskId) => taskOf(await api.send('GET', `/tasks/${taskId}`)),
    end: async (taskId) => {
      const deadline = performance.now() + endDeadlineMs
      let task: Task
      do {
        task = taskOf(await api.send('GET', `/tasks/${taskId}?wait=20`))
      } while (!task.done && performance.now() < deadline)
      if (!task.done) throw new Error(`task ${taskId} has not ended: ${JSON.stringify(task)}`)
      return task
    },
    events: async (taskId) => {
      const answer = await api.send('GET', `/tasks/${taskId}/events`)
      return eventPageSchema.parse(answer.body).items
    },
  }
  return api
}

/** The answer to a change that must have been accepted. */
export function accepted(answer: Answer): Accepted {
  if (answer.status !== 202) throw new Error(`expected 202, not ${answer.status}: ${JSON.stringify(answer.body)}`)
  return acceptedSchema.parse(answer.body)
}

/** The answer to a read that must have found its task. */
export function taskOf(answer: Answer): Task {
  if (answer.status !== 200) throw new Error(`expected 200, not ${answer.status}: ${JSON.stringify(answer.body)}`)
  return taskSchema.parse(answer.body)
}

/** The problem document of a refusal, whatever its status. */
export function problemOf(answer: Answer): Problem {
  const type = answer.headers.get('content-type') ?? ''
  if (!type.startsWith('application/problem+json')) throw new Error(`${answer.status} with ${type} is no problem`)
  return problemSchema.parse(answer.body)
}
