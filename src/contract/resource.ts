import { z } from 'zod'

/** Of an object: present or deleted. Of an analysis: running, or how its task ended. */
const resourceStateSchema = z.enum(['present', 'deleted', 'running', 'completed', 'failed', 'timed_out', 'cancelled'])
export type ResourceState = z.infer<typeof resourceStateSchema>

/** A managed object or an analysis, as the worker last knew it. */
export const resourceSchema = z.object({
  cluster: z.string().describe('Empty for what is in no cluster, such as an analysis'),
  base_path: z.string().describe('Of the control plane behind the cluster’s server; empty for the server itself'),
  api_version: z.string(),
  kind: z.string(),
  namespace: z.string().nullable(),
  name: z.string(),
  uid: z.string().nullable(),
  state: resourceStateSchema.describe('Of an object: present or deleted. Of an analysis: as its task'),
  drift: z
    .enum(['changed', 'deleted'])
    .nullable()
    .describe('What happened to it that no task of ours did: its spec was changed, or it was deleted'),
  conditions: z.array(z.record(z.string(), z.unknown())),
  details: z.record(z.string(), z.unknown()).nullable().describe('What an analysis found'),
  task_id: z.string().describe('The task that wrote the record last'),
  updated_at: z.string(),
})
export type Resource = z.infer<typeof resourceSchema>

export const resourcePageSchema = z.object({ items: z.array(resourceSchema), next_page_token: z.string().nullable() })

export const resourceListQuerySchema = z.strictObject({
  cluster: z.string().optional(),
  base_path: z.string().optional(),
  kind: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  state: resourceStateSchema.optional(),
  drift: z.enum(['changed', 'deleted', 'any']).optional(),
  page_size: z.coerce.number().int().min(1).max(200).optional().describe('Default 50'),
  page_token: z.string().optional(),
})
