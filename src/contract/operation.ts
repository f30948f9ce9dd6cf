import { z } from 'zod'

/** A kind of change, as `GET /operations` lists it. */
export const operationSchema = z.object({
  type: z.string().describe('For instance project.create'),
  summary: z.string().nullable(),
  class: z.enum(['short', 'long']),
  timeout_ms: z.number().int(),
  flag: z
    .object({ name: z.string(), enabled: z.boolean() })
    .nullable()
    .describe('The feature flag that it is behind, and whether that is on for the caller; off, the answer is 403'),
  route: z.object({ method: z.string(), path: z.string() }).nullable(),
  input_schema: z.record(z.string(), z.unknown()).describe('JSON Schema of the input'),
})
export type Operation = z.infer<typeof operationSchema>

export const operationPageSchema = z.object({ items: z.array(operationSchema), next_page_token: z.string().nullable() })
