/** Every status a task can have, in the order of a task's life. */
export const taskStatuses = [
  'AWAITING_APPROVAL',
  'SCHEDULED',
  'PENDING',
  'RUNNING',
  'WAITING',
  'RETRYING',
  'COMPLETED',
  'FAILED',
  'TIMED_OUT',
  'CANCELLED',
  'REJECTED',
  'EXPIRED',
] as const

export type TaskStatus = (typeof taskStatuses)[number]

const terminal = {
  AWAITING_APPROVAL: false,
  SCHEDULED: false,
  PENDING: false,
  RUNNING: false,
  WAITING: false,
  RETRYING: false,
  COMPLETED: true,
  FAILED: true,
  TIMED_OUT: true,
  CANCELLED: true,
  REJECTED: true,
  EXPIRED: true,
} as const satisfies Record<TaskStatus, boolean>

/** Terminal is final: no event moves a task out of such a status. */
export function isTerminal(status: TaskStatus): boolean {
  return terminal[status]
}

const retryable = {
  AWAITING_APPROVAL: false,
  SCHEDULED: false,
  PENDING: false,
  RUNNING: false,
  WAITING: false,
  RETRYING: false,
  COMPLETED: false,
  FAILED: true,
  TIMED_OUT: true,
  CANCELLED: true,
  REJECTED: false,
  EXPIRED: false,
} as const satisfies Record<TaskStatus, boolean>

/** Whether a task in this status can be asked for again, as a new task. */
export function isRetryable(status: TaskStatus): boolean {
  return retryable[status]
}

export const retryableStatuses: readonly TaskStatus[] = taskStatuses.filter(isRetryable)
