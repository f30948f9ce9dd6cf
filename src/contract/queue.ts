import { z } from 'zod'

/** How much of one operation waits and runs, in the caller's tenant. */
const queueSchema = z.object({
  operation: z.string(),
  class: z.enum(['short', 'long']),
  pending: z.number().int().describe('Queued, held ones included'),
  scheduled: z.number().int(),
  running: z.number().int(),
  waiting: z.number().int().describe('Waiting until the object is ready; holds no slot'),
  retrying: z.number().int(),
  held: z.number().int().describe('Kept from starting: paused, over a limit, cluster away'),
  paused: z.boolean(),
})

const platform = z.boolean().describe('Set by the platform, for every tenant; else by the tenant, for itself')

const pauseSchema = z.object({
  platform,
  operation: z.string().nullable().describe('null: every operation'),
  paused_by: z.string(),
  reason: z.string().nullable(),
  paused_at: z.string(),
})

export const limitSchema = z.object({
  platform,
  scope: z.enum(['tenant', 'cluster', 'operation']),
  key: z.string(),
  max_running: z.number().int().nullable(),
  per_minute: z.number().int().nullable(),
  burst: z.number().int(),
  set_by: z.string(),
})
export type Limit = z.infer<typeof limitSchema>

export const queuesSchema = z.object({
  items: z.array(queueSchema),
  pauses: z.array(pauseSchema),
  limits: z.array(limitSchema),
  next_page_token: z.null(),
})
export type Queues = z.infer<typeof queuesSchema>

export const pauseRequestSchema = z.strictObject({
  operation: z.string().optional().describe('Without it: every operation'),
  reason: z.string().max(500).optional(),
})

export const limitRequestSchema = z
  .strictObject({
    max_running: z.number().int().min(0).max(100_000).nullable().default(null).describe('Attempts at once'),
    per_minute: z.number().int().min(1).max(1_000_000).nullable().default(null).describe('Starts per minute'),
    burst: z.number().int().min(1).max(100_000).default(1).describe('Starts at once after a quiet time'),
  })
  .refine((limit) => limit.max_running !== null || limit.per_minute !== null, 'needs max_running or per_minute')
export type LimitRequest = z.input<typeof limitRequestSchema>

/** A process that is up, or was within the last hour; one that serves the API only has no slots. */
export const workerSchema = z.object({
  worker_id: z.string().describe('New at each start of the process'),
  role: z.enum(['all', 'api', 'worker']),
  version: z.string(),
  slots: z.number().int(),
  running: z.number().int(),
  host: z.string(),
  pid: z.number().int(),
  operations: z.array(z.string()),
  alive: z.boolean().describe('A heartbeat in the last 15 s'),
  clock_skew_ms: z.number().int().describe('Its clock against the database’s'),
  started_at: z.string(),
  heartbeat_at: z.string(),
})
export type Worker = z.infer<typeof workerSchema>

export const workerPageSchema = z.object({ items: z.array(workerSchema), next_page_token: z.null() })
