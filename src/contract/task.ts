import { z } from 'zod'
import { problemSchema } from './problem.ts'
import { taskStatuses } from './task-status.ts'

export const taskIdSchema = z
  .string()
  .regex(/^task_[0-7][0-9a-hjkmnp-tv-z]{25}$/, 'is not a task id (task_ and 26 characters)')
  .describe('task_ and a UUIDv7 in Crockford base 32')

const progressSchema = z.object({
  done: z.number().nullable(),
  total: z.number().nullable(),
  message: z.string().nullable(),
})

const waitingForSchema = z.object({
  cluster: z.string(),
  kind: z.string(),
  namespace: z.string().nullable(),
  name: z.string(),
  reason: z.string().nullable(),
})

/** In the place of a result that is too large for a row, or was written as a stream: its bytes are at `links.result`. */
export const storedResultSchema = z.strictObject({
  $stored: z.object({ bytes: z.number().int(), sha256: z.string(), media_type: z.string() }),
})
export type StoredResult = z.infer<typeof storedResultSchema>

const taskLinksSchema = z.object({
  self: z.string(),
  cancel: z.string(),
  events: z.string(),
  result: z.string().optional().describe('Of a completed task: its result as bytes, however large'),
  ticket: z.string().optional(),
})

/** One accepted change, from acceptance to its end. */
export const taskSchema = z.object({
  task_id: taskIdSchema,
  operation: z.string(),
  target: z.string().nullable(),
  status: z.enum(taskStatuses),
  done: z.boolean(),
  dead_lettered: z.boolean(),
  tenant: z.string(),
  requested_by: z.string(),
  joined_by: z.array(z.string()),
  labels: z.record(z.string(), z.string()),
  batch_id: z.string().nullable(),
  retry_of: z.string().nullable(),
  schedule_id: z.string().nullable(),
  ticket: z.string().nullable(),
  progress: progressSchema.nullable(),
  attempt: z.number().int(),
  max_attempts: z.number().int(),
  next_attempt_at: z.string().nullable(),
  deadline_at: z.string().nullable(),
  waiting_for: waitingForSchema.nullable(),
  why_waiting: z.string().nullable(),
  result: z.record(z.string(), z.unknown()).nullable(),
  error: problemSchema.nullable(),
  created_at: z.string(),
  started_at: z.string().nullable(),
  completed_at: z.string().nullable(),
  trace_id: z.string().nullable().describe('W3C trace id of the request, and of all that was done for it'),
  links: taskLinksSchema,
})
export type Task = z.infer<typeof taskSchema>

export const taskPageSchema = z.object({ items: z.array(taskSchema), next_page_token: z.string().nullable() })
export type TaskPage = z.infer<typeof taskPageSchema>

/** What a caller may set beside an operation's input, in the body's `task` object. */
export const taskOptionsSchema = z.strictObject({
  timeout_ms: z
    .number()
    .int()
    .min(1_000)
    .max(86_400_000)
    .optional()
    .describe('Milliseconds from first start; default 300000'),
  start_at: z.iso.datetime({ offset: true }).optional(),
  priority: z.number().int().min(-100).max(100).optional().describe('Higher runs first; default 0'),
  labels: z.record(z.string().min(1).max(63), z.string().max(255)).optional(),
  confirm_name: z.string().max(253).optional(),
})
export type TaskOptions = z.infer<typeof taskOptionsSchema>

/** The answer to every accepted change: 202. */
export const acceptedSchema = z.object({
  task_id: taskIdSchema,
  status: z.enum(taskStatuses),
  message: z.string(),
  deduplicated: z.boolean().optional(),
  links: taskLinksSchema,
  task: taskSchema.optional().describe('Embedded when the caller asked to wait (Prefer: wait=N)'),
})
export type Accepted = z.infer<typeof acceptedSchema>

/** The answer to a cancel: the task as it stands now, and what cannot be undone, as a sentence. */
export const cancelAnswerSchema = z.object({ task: taskSchema, message: z.string() })
export type CancelAnswer = z.infer<typeof cancelAnswerSchema>
