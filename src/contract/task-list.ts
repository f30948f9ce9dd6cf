import { z } from 'zod'
import { taskStatuses } from './task-status.ts'

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
  label: oneOrMany(z.string().regex(/^[^=]+=/, 'is not key=value')).optional(),
  created_after: z.iso.datetime({ offset: true }).optional(),
  created_before: z.iso.datetime({ offset: true }).optional(),
  q: z.string().max(255).optional(),
  page_size: z.coerce.number().int().min(1).max(200).optional().describe('Default 50'),
  page_token: z.string().optional(),
})

/** What a client may ask for: the query as it is written by hand, page size as a number. */
export type TaskFilter = Omit<z.input<typeof taskListQuerySchema>, 'page_size'> & { page_size?: number | undefined }
