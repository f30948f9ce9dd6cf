import { z } from 'zod'

/** One field of the input that was refused. `pointer` is an RFC 6901 JSON pointer into the request body. */
const problemFieldSchema = z.object({ pointer: z.string(), message: z.string() })

/** RFC 9457 problem document; the same shape inside a failed task. */
export const problemSchema = z.object({
  type: z.string().describe('Stable URI of the kind of problem'),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string().describe('Stable machine-readable code; see docs/errors.md'),
  trace_id: z.string().optional(),
  retryable: z.boolean(),
  errors: z.array(problemFieldSchema).optional(),
  flag: z.string().optional().describe('The feature flag that is off'),
  task: z.string().optional().describe('Link to the task that stands in the way, on a conflict'),
})

export type Problem = z.infer<typeof problemSchema>
