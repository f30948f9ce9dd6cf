import { z } from 'zod'
import { eventSchema } from './event.ts'
import { taskStatuses } from './task-status.ts'
import { taskSchema } from './task.ts'

/** One value or many: a query parameter may be repeated (`status=RUNNING&status=WAITING`). */
function oneOrMany<Item extends z.ZodType>(item: Item) {
  return z.union([item.transform((value) => [value]), z.array(item)])
}

/** The query of `GET /tasks`. Repeated values of one parameter are alternatives; labels (`key=value`) must all be there. */
export const taskListQuerySchema = z.strictObject({
  status: oneOrMany(z.enum(taskStatuses)).optional(),
  operation: oneOrMany(z.string()).optional(),
  target: z.string().optional(),
  requested_by: z.string().optional(),
  batch_id: z.string().optional(),
  schedule_id: z.string().optional(),
  dead_lettered: z.stringbool().optional().describe('Attempts used up'),
  label: oneOrMany(z.string().regex(/^[^=]+=/, 'is not key=value')).optional(),
  created_after: z.iso.datetime({ offset: true }).optional(),
  created_before: z.iso.datetime({ offset: true }).optional(),
  q: z.string().max(255).optional(),
  page_size: z.coerce.number().int().min(1).max(200).optional().describe('Default 50'),
  page_token: z.string().optional(),
})

/** What a client may ask for: the query as it is written by hand, page size as a number. */
export type TaskFilter = Omit<z.input<typeof taskListQuerySchema>, 'page_size'> & { page_size?: number | undefined }

/**
 * Which tasks an action on many means: fields as in `GET /tasks`, as JSON. An empty filter would mean every task of the
 * tenant, so at least one field is needed.
 */
export const bulkFilterSchema = z
  .strictObject({
    task_ids: z.array(z.string()).min(1).max(10_000).optional(),
    status: z.array(z.enum(taskStatuses)).min(1).optional(),
    operation: z.array(z.string()).min(1).optional(),
    target: z.string().optional(),
    requested_by: z.string().optional(),
    batch_id: z.string().optional(),
    schedule_id: z.string().optional(),
    dead_lettered: z.boolean().optional(),
    label: z.array(z.string().regex(/^[^=]+=/, 'is not key=value')).optional(),
    created_after: z.iso.datetime({ offset: true }).optional(),
    created_before: z.iso.datetime({ offset: true }).optional(),
    q: z.string().max(255).optional(),
  })
  .refine((filter) => Object.values(filter).some((value) => value !== undefined), 'needs at least one field')
export type BulkFilter = z.infer<typeof bulkFilterSchema>

export const bulkActionSchema = z.strictObject({
  filter: bulkFilterSchema,
  dry_run: z.boolean().default(false).describe('Only count what it would act on'),
})

/** What an action on many did, or would do. */
export const bulkActionAnswerSchema = z.object({
  matched: z.number().int().describe('Tasks that it is about'),
  done: z.number().int().describe('Tasks cancelled, asked to end, or tried again; 0 in a dry run'),
  dry_run: z.boolean(),
  refused: z
    .array(z.object({ task_id: z.string(), code: z.string(), detail: z.string() }))
    .describe('The first hundred that it could not be done to'),
})
export type BulkActionAnswer = z.infer<typeof bulkActionAnswerSchema>

/** A dead letter, with what went wrong in each of its attempts. */
export const deadLetterSchema = z.object({ task: taskSchema, attempts: z.array(eventSchema) })
export type DeadLetter = z.infer<typeof deadLetterSchema>
