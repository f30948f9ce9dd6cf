import { z } from 'zod'
import { taskOptionsSchema } from './task.ts'
import { taskStatuses } from './task-status.ts'

export const batchStatuses = ['PENDING', 'RUNNING', 'COMPLETED', 'PARTIALLY_COMPLETED', 'FAILED', 'CANCELLED'] as const
export type BatchStatus = (typeof batchStatuses)[number]

/** The most items of one batch. */
const maxBatchItems = 10_000

/** `POST /tasks/bulk`: all items are accepted in one transaction, or none is. */
export const bulkRequestSchema = z.strictObject({
  items: z
    .array(
      z.strictObject({
        operation: z.string(),
        input: z.record(z.string(), z.unknown()),
        task: taskOptionsSchema.optional(),
      }),
    )
    .min(1)
    .max(maxBatchItems),
  on_error: z.enum(['continue', 'stop']).default('continue').describe('stop: a failed item cancels the rest'),
  concurrency: z.number().int().min(1).max(maxBatchItems).optional().describe('Items under way at once'),
})

/** Many tasks that were asked for together. Its counts are kept by the log. */
export const batchSchema = z.object({
  batch_id: z.string(),
  status: z.enum(batchStatuses),
  requested_by: z.string(),
  on_error: z.enum(['continue', 'stop']),
  concurrency: z.number().int().nullable(),
  total: z.number().int(),
  counts: z.record(z.enum(taskStatuses), z.number().int()),
  retry_of: z.string().nullable(),
  created_at: z.string(),
  completed_at: z.string().nullable(),
  links: z.object({ self: z.string(), cancel: z.string(), retry: z.string(), tasks: z.string() }),
})
export type Batch = z.infer<typeof batchSchema>

export const batchPageSchema = z.object({ items: z.array(batchSchema), next_page_token: z.string().nullable() })
