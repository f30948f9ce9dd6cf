import { progressText } from '../client/index.ts'
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

/** What a person wants to know of a task beside its status: why it waits, how far it is, or why it failed. */
export function taskDetail(task: Task): string {
  if (task.error !== null) return `${task.error.detail} (${task.error.code})`
  return [progressText(task), task.why_waiting ?? ''].filter((text) => text !== '').join(' · ')
}
