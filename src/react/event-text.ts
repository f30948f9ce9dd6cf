import type { EventType, TaskEvent } from '../contract/event.ts'
import type { TaskStatus } from '../contract/task-status.ts'

/** `TIMED_OUT` → `Timed out`: the same words, as a sentence begins. */
export function statusText(status: TaskStatus): string {
  const words = status.toLowerCase().replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** One line of a timeline: what happened, and (if the event says so) why. */
export interface EventText {
  readonly title: string
  readonly detail: string | null
}

type Data = TaskEvent['data']

const titles = {
  'task.requested': (_data, actor) => `Requested by ${actor}`,
  'task.joined': (_data, actor) => `${actor} asked for the same and joined`,
  'task.regated': () => 'The policy changed: under another ticket of its batch now',
  'task.approved': (_data, actor) => `Approved by ${actor}`,
  'task.rejected': (_data, actor) => `Rejected by ${actor}`,
  'task.expired': () => 'Expired: not decided in time',
  'task.started': (data) => (isNumber(data['attempt']) ? `Attempt ${data['attempt']} started` : 'Started'),
  'task.waiting': (data) => `Waiting${waitingFor(data)}`,
  'task.progress': (data) => (isText(data['reason']) ? 'Still waiting' : 'Progress'),
  'task.retrying': () => 'The attempt failed; another one follows',
  'task.cancel_requested': (_data, actor) => `${actor} asked to cancel it`,
  'task.completed': () => 'Completed',
  'task.failed': (data) => (data['dead_lettered'] === true ? 'Failed: attempts used up' : 'Failed'),
  'task.timed_out': () => 'Timed out',
  'task.cancelled': () => 'Cancelled',
} as const satisfies Record<EventType, (data: Data, actor: string) => string>

export function eventText(event: TaskEvent): EventText {
  // A newer server may know more types than this page: its own word is then better than none.
  const known: Readonly<Record<string, (data: Data, actor: string) => string>> = titles
  const title = known[event.type]?.(event.data, event.actor) ?? event.type.replace(/^task\./, '').replaceAll('_', ' ')
  return { title, detail: detailOf(event.data) }
}

function detailOf(data: Data): string | null {
  const progress = fieldsOf(data['progress'])
  if (progress !== null) {
    const { done, total, message } = progress
    const count = isNumber(done) ? (isNumber(total) ? `${done} of ${total}` : String(done)) : ''
    return [count, isText(message) ? message : ''].filter((text) => text !== '').join(': ')
  }
  const { detail } = fieldsOf(data['error']) ?? {}
  if (isText(detail)) return detail
  const { reason } = fieldsOf(data['waiting_for']) ?? {}
  if (isText(reason)) return reason
  if (isText(data['reason'])) return data['reason']
  return isText(data['comment']) ? data['comment'] : null
}

function waitingFor(data: Data): string {
  const { kind, name } = fieldsOf(data['waiting_for']) ?? {}
  return isText(kind) && isText(name) ? ` until ${kind} ${name} is ready` : ''
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | null {
  // Any object's fields may be looked at; each is checked before it is used.
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number'
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
