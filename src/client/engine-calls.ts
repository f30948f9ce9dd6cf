import { z } from 'zod'
import { batchPageSchema, batchSchema, type Batch, type bulkRequestSchema } from '../contract/batch.ts'
import {
  limitSchema,
  queuesSchema,
  workerPageSchema,
  type Limit,
  type LimitRequest,
  type Queues,
  type Worker,
} from '../contract/queue.ts'
import { schedulePageSchema, scheduleSchema, type Schedule, type ScheduleRequest } from '../contract/schedule.ts'
import {
  bulkActionAnswerSchema,
  deadLetterSchema,
  type BulkActionAnswer,
  type BulkFilter,
  type DeadLetter,
  type TaskFilter,
} from '../contract/task-list.ts'
import { acceptedSchema, taskPageSchema, type Accepted, type TaskPage } from '../contract/task.ts'
import type { Exchange } from './exchange.ts'

interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

interface ManyOptions extends CallOptions {
  /** Only count what it would act on. @default false */
  readonly dryRun?: boolean | undefined
}

interface ReachOptions extends CallOptions {
  /** In every tenant; for the operators of the platform. @default only in the caller's tenant */
  readonly platform?: boolean | undefined
}

/** What a program may ask about many tasks, the queue, its workers and its schedules. Errors as in `SluiceClient`. */
export interface EngineCalls {
  /** Asks for a change that failed again, as a new task. */
  retryTask(taskId: string, options?: CallOptions): Promise<Accepted>
  /** Up to 10,000 changes, all of them accepted or none. */
  submitBatch(batch: z.input<typeof bulkRequestSchema>, options?: CallOptions): Promise<Batch>
  getBatch(batchId: string, options?: CallOptions): Promise<Batch>
  listBatches(options?: CallOptions): Promise<Batch[]>
  /** Cancels what is left of a batch. */
  cancelBatch(batchId: string, options?: CallOptions): Promise<BulkActionAnswer>
  /** Tries the failed items again, as a new batch. */
  retryBatch(batchId: string, options?: CallOptions): Promise<Batch>
  /** Cancels every task that matches and has not ended. */
  cancelTasks(filter: BulkFilter, options?: ManyOptions): Promise<BulkActionAnswer>
  /** Tries every task again that matches, failed, and was not tried again before. */
  retryTasks(filter: BulkFilter, options?: ManyOptions): Promise<BulkActionAnswer>
  /** Tasks whose attempts were used up. */
  deadLetters(filter?: Omit<TaskFilter, 'status' | 'dead_lettered'>, options?: CallOptions): Promise<TaskPage>
  /** One of them, with the error of each attempt. */
  deadLetter(taskId: string, options?: CallOptions): Promise<DeadLetter>
  /** Replays the dead letters that match; all without a filter. */
  replayDeadLetters(filter?: BulkFilter, options?: ManyOptions): Promise<BulkActionAnswer>
  queues(options?: CallOptions): Promise<Queues>
  /** Lets nothing of this operation start (of any, without one). */
  pauseQueue(pause: { readonly operation?: string; readonly reason?: string }, options?: ReachOptions): Promise<Queues>
  resumeQueue(operation?: string, options?: ReachOptions): Promise<Queues>
  setLimit(scope: Limit['scope'], key: string, limit: LimitRequest & ReachOptions): Promise<Limit>
  removeLimit(scope: Limit['scope'], key: string, options?: ReachOptions): Promise<void>
  workers(options?: CallOptions): Promise<Worker[]>
  schedules(options?: CallOptions): Promise<Schedule[]>
  createSchedule(schedule: ScheduleRequest, options?: CallOptions): Promise<Schedule>
  pauseSchedule(scheduleId: string, options?: CallOptions): Promise<Schedule>
  resumeSchedule(scheduleId: string, options?: CallOptions): Promise<Schedule>
  /** Asks for the change now, beside the schedule. */
  runSchedule(scheduleId: string, options?: CallOptions): Promise<Accepted>
  deleteSchedule(scheduleId: string, options?: CallOptions): Promise<void>
}

export function createEngineCalls(exchange: Exchange): EngineCalls {
  const post = <Schema extends z.ZodType>(schema: Schema, path: string, call: { body?: unknown } & CallOptions = {}) =>
    exchange.request(schema, { method: 'POST', path, ...call })
  const at = (...parts: readonly string[]) => `/${parts.map(encodeURIComponent).join('/')}`
  const reach = (platform: boolean | undefined) => (platform === true ? '/platform' : '')
  return {
    retryTask: (taskId, { signal } = {}) => post(acceptedSchema, at('tasks', taskId, 'retry'), { signal }),
    submitBatch: (body, { signal } = {}) => post(batchSchema, '/tasks/bulk', { body, signal }),
    getBatch: (batchId, { signal } = {}) => exchange.request(batchSchema, { path: at('batches', batchId), signal }),
    listBatches: async ({ signal } = {}) =>
      (await exchange.request(batchPageSchema, { path: '/batches', signal })).items,
    cancelBatch: (batchId, { signal } = {}) =>
      post(bulkActionAnswerSchema, at('batches', batchId, 'cancel'), { signal }),
    retryBatch: (batchId, { signal } = {}) => post(batchSchema, at('batches', batchId, 'retry'), { signal }),
    cancelTasks: (filter, { dryRun, signal } = {}) =>
      post(bulkActionAnswerSchema, '/tasks/cancel', { body: { filter, dry_run: dryRun }, signal }),
    retryTasks: (filter, { dryRun, signal } = {}) =>
      post(bulkActionAnswerSchema, '/tasks/retry', { body: { filter, dry_run: dryRun }, signal }),
    deadLetters: (filter = {}, { signal } = {}) =>
      exchange.request(taskPageSchema, { path: '/dead-letters', query: filter, signal }),
    deadLetter: (taskId, { signal } = {}) =>
      exchange.request(deadLetterSchema, { path: `/dead-letters/${encodeURIComponent(taskId)}`, signal }),
    replayDeadLetters: (filter, { dryRun, signal } = {}) =>
      post(bulkActionAnswerSchema, '/dead-letters/replay', { body: { filter, dry_run: dryRun }, signal }),
    queues: ({ signal } = {}) => exchange.request(queuesSchema, { path: '/queues', signal }),
    pauseQueue: (body, { platform, signal } = {}) =>
      post(queuesSchema, `${reach(platform)}/queues/pause`, { body, signal }),
    resumeQueue: (operation, { platform, signal } = {}) =>
      post(queuesSchema, `${reach(platform)}/queues/resume`, { body: { operation }, signal }),
    setLimit: (scope, key, { platform, signal, ...body }) => {
      const path = reach(platform) + at('limits', scope, key)
      return exchange.request(limitSchema, { method: 'PUT', path, body, signal })
    },
    removeLimit: async (scope, key, { platform, signal } = {}) => {
      const path = reach(platform) + at('limits', scope, key)
      await exchange.request(z.unknown(), { method: 'DELETE', path, signal })
    },
    workers: async ({ signal } = {}) => (await exchange.request(workerPageSchema, { path: '/workers', signal })).items,
    schedules: async ({ signal } = {}) =>
      (await exchange.request(schedulePageSchema, { path: '/schedules', signal })).items,
    createSchedule: (body, { signal } = {}) => post(scheduleSchema, '/schedules', { body, signal }),
    pauseSchedule: (id, { signal } = {}) => post(scheduleSchema, at('schedules', id, 'pause'), { signal }),
    resumeSchedule: (id, { signal } = {}) => post(scheduleSchema, at('schedules', id, 'resume'), { signal }),
    runSchedule: (id, { signal } = {}) => post(acceptedSchema, at('schedules', id, 'run'), { signal }),
    deleteSchedule: async (id, { signal } = {}) => {
      await exchange.request(z.unknown(), { method: 'DELETE', path: at('schedules', id), signal })
    },
  }
}
