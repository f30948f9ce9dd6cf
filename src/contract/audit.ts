import { z } from 'zod'

/** The query of `GET /audit` and `GET /audit/export`: everything that is given must hold. */
export const auditFilterSchema = z.strictObject({
  actor: z.string().max(255).optional(),
  type: z
    .string()
    .max(100)
    .optional()
    .describe('Of the event, such as task.requested; `ticket.*` for all that begin so'),
  task_id: z.string().max(255).optional(),
  address: z.string().max(64).optional().describe('Where the request came from'),
  token_id: z.string().max(255).optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional().describe('Exclusive'),
})
export type AuditFilter = z.infer<typeof auditFilterSchema>

export const auditListQuerySchema = auditFilterSchema.extend({
  page_size: z.coerce.number().int().min(1).max(200).default(50),
  page_token: z
    .string()
    .regex(/^\d{1,19}\.\d{0,19}$/, 'is not one that a list returned')
    .optional(),
})

/** An event, with everything that the log knows of it. */
export const auditEntrySchema = z.object({
  seq: z.string().describe('Its number in the log'),
  position: z
    .number()
    .int()
    .nullable()
    .describe('Its place in the tenant’s chain, from 1; null for the seconds until it is sealed'),
  hash: z.string().nullable().describe('Of everything up to here'),
  event_id: z.string(),
  at: z.string(),
  type: z.string(),
  task_id: z.string().nullable(),
  operation: z.string().nullable(),
  target: z.string().nullable(),
  actor: z.string(),
  source: z
    .object({
      address: z.string().nullable(),
      via: z.string().describe('token, session, development or database'),
      token_id: z.string().nullable(),
      trace_id: z.string().nullable(),
    })
    .nullable()
    .describe('Where its request came from; null for what a worker or the policy did'),
  reason: z.string().nullable().describe('`Sluice-Reason`, else the comment or reason that the request gave'),
  data: z.record(z.string(), z.unknown()),
})
export type AuditEntry = z.infer<typeof auditEntrySchema>

export const auditPageSchema = z.object({
  items: z.array(auditEntrySchema),
  next_page_token: z.string().nullable(),
})
export type AuditPage = z.infer<typeof auditPageSchema>

/** The end of a tenant's chain. Keep it elsewhere: with it a chain that was rewritten or cut off is found. */
export const auditHeadSchema = z.object({
  tenant: z.string(),
  position: z.number().int().describe('How many events are sealed; 0 before the first'),
  hash: z.string().describe('SHA-256 over all of them, in hexadecimal; empty before the first'),
  sealed_at: z.string().nullable(),
})
export type AuditHead = z.infer<typeof auditHeadSchema>

export const auditFindingSchema = z.object({
  tenant: z.string(),
  kind: z.enum([
    'changed',
    'deleted',
    'inserted',
    'seal_missing',
    'seal_unreadable',
    'checkpoint_false',
    'head_differs',
    'cut',
  ]),
  position: z.number().int().nullable().describe('In the tenant’s chain'),
  seq: z.string().nullable().describe('In the log'),
  detail: z.string(),
})
export type AuditFinding = z.infer<typeof auditFindingSchema>

export const auditVerifyQuerySchema = z.strictObject({
  head_position: z.coerce.number().int().min(1).optional().describe('Of a head that was kept elsewhere'),
  head_hash: z
    .string()
    .regex(/^[\da-f]{64}$/, 'is not a hash')
    .optional(),
  page_token: z.string().max(1_000).optional().describe('Goes on where the answer before stopped'),
})

/** What some seconds of comparing the log with its seals have found. */
export const auditVerifiedSchema = z.object({
  events: z.number().int().describe('Looked at by this answer'),
  findings: z.array(auditFindingSchema).describe('At most a thousand in one answer'),
  position: z.number().int().describe('How far the chain is verified'),
  hash: z.string(),
  unsealed: z.number().int().describe('Too new to be sealed: seconds, while a worker is alive'),
  oldest_unsealed_at: z.string().nullable(),
  next_page_token: z.string().nullable().describe('null: verified to the end'),
})
export type AuditVerified = z.infer<typeof auditVerifiedSchema>
