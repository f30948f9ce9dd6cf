import type { Task } from '../contract/task.ts'
import type { TaskStatus } from '../contract/task-status.ts'
import { paint, type Style, type Terminal } from './output.ts'

const styles = {
  AWAITING_APPROVAL: 'magenta',
  SCHEDULED: 'gray',
  PENDING: 'gray',
  RUNNING: 'cyan',
  WAITING: 'blue',
  RETRYING: 'yellow',
  COMPLETED: 'green',
  FAILED: 'red',
  TIMED_OUT: 'red',
  CANCELLED: 'gray',
  REJECTED: 'red',
  EXPIRED: 'red',
} as const satisfies Record<TaskStatus, Style>

export function paintStatus(terminal: Terminal, status: TaskStatus, width = 0): string {
  return paint(terminal, styles[status], status.padEnd(width))
}

/** `default:group/Kind/namespace/name` → `name`, or `namespace/name`. */
export function shortTarget(target: string | null): string {
  if (target === null) return ''
  const [, , namespace = '', name = ''] = target.slice(target.indexOf(':') + 1).split('/')
  return namespace === '' ? name : `${namespace}/${name}`
}

/** What a person wants to know of a task beside its status: why it waits, how far it is, or why it failed. */
export function taskDetail(task: Task): string {
  if (task.error !== null) return `${task.error.detail} (${task.error.code})`
  return [progressText(task), task.why_waiting].filter((text) => text !== null && text !== '').join(' · ')
}

function progressText(task: Task): string | null {
  if (task.progress === null || task.done) return null
  const { done, total, message } = task.progress
  const count = done === null ? '' : total === null ? String(done) : `${done}/${total}`
  return [count, message].filter((text) => text !== null && text !== '').join(' ')
}

/** Milliseconds as people say them: 850 ms, 12.3 s, 4 min 05 s, 3 h 20 min, 5 d 2 h. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  const [days, hours, minutes] = [
    Math.floor(whole / 86_400),
    Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60,
  ]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return `${minutes} min ${String(whole % 60).padStart(2, '0')} s`
}

/** Milliseconds from acceptance to the end, or until now. */
export function ageOf(task: Task, now: number = Date.now()): number {
  const end = task.completed_at === null ? now : Date.parse(task.completed_at)
  return Math.max(0, end - Date.parse(task.created_at))
}
