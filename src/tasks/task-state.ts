import type { EventType } from '../contract/event.ts'
import type { TaskStatus } from '../contract/task-status.ts'

/** Who may write an event: the API for what people ask, the worker for what became of it. */
export type Writer = 'sluice_api' | 'sluice_worker'

export interface LegalMove {
  readonly from: TaskStatus
  readonly to: TaskStatus
  readonly by: Writer
}

const stays = (by: Writer, ...statuses: readonly TaskStatus[]): LegalMove[] =>
  statuses.map((status) => ({ from: status, to: status, by }))

const moves = (by: Writer, to: TaskStatus, ...from: readonly TaskStatus[]): LegalMove[] =>
  from.map((status) => ({ from: status, to, by }))

/**
 * Which event moves a task from which status to which. The database enforces the same table (`legal_moves`, from
 * the migrations); a test proves them equal. `task.requested` makes a task, so it moves none.
 */
export const legalMoves = {
  'task.requested': [],
  'task.joined': stays('sluice_api', 'AWAITING_APPROVAL', 'SCHEDULED', 'PENDING', 'RUNNING', 'WAITING', 'RETRYING'),
  // Policy put it under another ticket of its batch.
  'task.regated': stays('sluice_api', 'AWAITING_APPROVAL'),
  // PENDING, or SCHEDULED where the start lies in the future.
  'task.approved': moves('sluice_api', 'PENDING', 'AWAITING_APPROVAL'),
  'task.rejected': moves('sluice_api', 'REJECTED', 'AWAITING_APPROVAL'),
  'task.expired': [
    ...moves('sluice_api', 'EXPIRED', 'AWAITING_APPROVAL'),
    ...moves('sluice_worker', 'EXPIRED', 'AWAITING_APPROVAL'),
  ],
  // From RUNNING: the worker of the attempt before died.
  'task.started': moves('sluice_worker', 'RUNNING', 'SCHEDULED', 'PENDING', 'RUNNING', 'RETRYING'),
  'task.waiting': moves('sluice_worker', 'WAITING', 'RUNNING', 'WAITING'),
  'task.progress': stays('sluice_worker', 'RUNNING', 'WAITING'),
  'task.retrying': moves('sluice_worker', 'RETRYING', 'RUNNING'),
  'task.cancel_requested': stays('sluice_api', 'RUNNING', 'WAITING', 'RETRYING'),
  'task.completed': moves('sluice_worker', 'COMPLETED', 'RUNNING', 'WAITING'),
  'task.failed': moves('sluice_worker', 'FAILED', 'SCHEDULED', 'PENDING', 'RUNNING', 'WAITING', 'RETRYING'),
  'task.timed_out': moves('sluice_worker', 'TIMED_OUT', 'RUNNING', 'WAITING', 'RETRYING'),
  'task.cancelled': [
    ...moves('sluice_api', 'CANCELLED', 'AWAITING_APPROVAL', 'SCHEDULED', 'PENDING'),
    ...moves('sluice_worker', 'CANCELLED', 'RUNNING', 'WAITING', 'RETRYING'),
  ],
} as const satisfies Record<EventType, readonly LegalMove[]>

/** What the engine's row of a job says (`pgboss.job.state`). A `created` one is due, or starts later. */
export type EngineState =
  'created' | 'created, starts later' | 'active' | 'retry' | 'completed' | 'cancelled' | 'failed'

/** The eight states of the unified async model. */
export type ModelState =
  'available' | 'scheduled' | 'pending' | 'running' | 'retryable' | 'completed' | 'discarded' | 'cancelled'

export interface StateMapping {
  /** Which of the tasks in the status; null: all of them. */
  readonly when: string | null
  /** Of the task's job; null: there is none. */
  readonly engine: EngineState | null
  readonly model: ModelState | null
}

const always = (engine: EngineState | null, model: ModelState | null): readonly StateMapping[] => [
  { when: null, engine, model },
]

/** Where a task's job is in the engine, and what the unified async model calls that. A test makes each of them. */
export const stateMappings = {
  AWAITING_APPROVAL: always(null, null),
  SCHEDULED: always('created, starts later', 'scheduled'),
  PENDING: [
    { when: 'due', engine: 'created', model: 'available' },
    { when: 'held: paused, over a limit, its batch or cluster', engine: 'created, starts later', model: 'pending' },
  ],
  RUNNING: always('active', 'running'),
  WAITING: [
    { when: 'its own job', engine: 'completed', model: 'completed' },
    { when: 'the finish job, which starts at the deadline', engine: 'created, starts later', model: 'scheduled' },
  ],
  RETRYING: [
    { when: 'the attempt counted', engine: 'retry', model: 'retryable' },
    { when: 'handed back', engine: 'created, starts later', model: 'retryable' },
  ],
  COMPLETED: always('completed', 'completed'),
  FAILED: [
    { when: 'attempts used up (`dead_lettered`); a copy is in `sluice-dead`', engine: 'failed', model: 'discarded' },
    { when: 'a permanent error', engine: 'cancelled', model: 'cancelled' },
  ],
  TIMED_OUT: always('cancelled', 'cancelled'),
  CANCELLED: [
    { when: 'after its job was made', engine: 'cancelled', model: 'cancelled' },
    { when: 'while it awaited approval', engine: null, model: null },
  ],
  REJECTED: always(null, null),
  EXPIRED: always(null, null),
} as const satisfies Record<TaskStatus, readonly StateMapping[]>
