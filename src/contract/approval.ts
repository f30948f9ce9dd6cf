import { z } from 'zod'
import { batchSchema } from './batch.ts'
import { taskStatuses } from './task-status.ts'
import { taskIdSchema, taskSchema } from './task.ts'

const ticketStates = ['open', 'approved', 'rejected', 'withdrawn', 'expired', 'cancelled'] as const

const ticketStageSchema = z.object({
  name: z.string(),
  quorum: z.number().int().describe('Approvals of different people that the stage needs'),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
  approvals: z.number().int().describe('Approvals that count so far'),
})

const decisionSchema = z.object({
  decision: z.enum(['approve', 'reject']),
  principal: z.string(),
  stage: z.number().int(),
  comment: z.string().nullable(),
  at: z.string(),
  items: z.array(taskIdSchema).nullable().describe('What a rejection names of a batch; null: all that the ticket held'),
  dropped: z.boolean().describe('Given under a rule, or on items, that have changed since: counts no more'),
})

const ticketPayloadSchema = z.object({
  operation: z.string(),
  input: z.unknown(),
  options: z.record(z.string(), z.unknown()),
})

/** An approval request: of one task, or of the items of a batch that met the same rule. */
export const ticketSchema = z.object({
  ticket_id: z.string(),
  task_id: taskIdSchema.nullable().describe('Null for items of a batch'),
  batch_id: z.string().nullable(),
  items: z
    .object({ total: z.number().int(), waiting: z.number().int().describe('Those that the decision is about') })
    .nullable()
    .describe('Of a batch; see links.items'),
  state: z.enum(ticketStates),
  operation: z.string().describe('Of items that differ: all of them, separated by commas'),
  target: z.string().nullable(),
  environment: z.string(),
  requested_by: z.string(),
  joined_by: z.array(z.string()),
  payload: ticketPayloadSchema.nullable().describe('Null for items of a batch: each has its own'),
  payload_hash: z
    .string()
    .describe(
      'SHA-256 over the canonical payload (RFC 8785), or over the array of the payload hashes of the items that wait, in their order; a decision repeats it',
    ),
  rule: z.string(),
  rule_digest: z.string(),
  policy_version: z.number().int(),
  stages: z.array(ticketStageSchema),
  stage: z.number().int().describe('The stage being decided, from 0'),
  needs: z.string().nullable().describe('What is missing, as a sentence; null when closed'),
  decisions: z.array(decisionSchema),
  may_decide: z.boolean(),
  why_not: z.string().nullable(),
  opened_at: z.string(),
  expires_at: z.string(),
  closed_at: z.string().nullable(),
  closed_by: z.string().nullable(),
  links: z.object({
    self: z.string(),
    task: z.string().nullable(),
    batch: z.string().nullable(),
    items: z.string(),
    approve: z.string(),
    reject: z.string(),
    withdraw: z.string(),
  }),
})
export type Ticket = z.infer<typeof ticketSchema>

export const ticketPageSchema = z.object({ items: z.array(ticketSchema), next_page_token: z.string().nullable() })
export type TicketPage = z.infer<typeof ticketPageSchema>

/** One change that a ticket is about. */
const ticketItemSchema = z.object({
  position: z.number().int().describe('In the batch, from 0'),
  task_id: taskIdSchema,
  status: z.enum(taskStatuses),
  target: z.string().nullable(),
  payload: ticketPayloadSchema,
  payload_hash: z.string().describe('SHA-256 over the canonical payload (RFC 8785)'),
})
export type TicketItem = z.infer<typeof ticketItemSchema>

export const ticketItemPageSchema = z.object({
  items: z.array(ticketItemSchema),
  next_page_token: z.string().nullable(),
})
export type TicketItemPage = z.infer<typeof ticketItemPageSchema>

export const ticketItemsQuerySchema = z.strictObject({
  page_size: z.coerce.number().int().min(1).max(1_000).default(200),
  page_token: z
    .string()
    .regex(/^\d{1,9}$/, 'is not one that a list returned')
    .optional(),
})

/** Which page a client asks for. */
export interface TicketItemsPage {
  readonly page_size?: number | undefined
  readonly page_token?: string | undefined
}

/** One ticket, with what the cluster says now; best effort. */
export const ticketDetailSchema = ticketSchema.extend({
  dry_run: z
    .object({
      diff: z.string().nullable(),
      diff_digest: z.string().nullable().describe('SHA-256 of the diff; a decision may repeat it'),
      warnings: z.array(z.string()),
      error: z.string().nullable().describe('Why there is no diff'),
    })
    .nullable(),
})
export type TicketDetail = z.infer<typeof ticketDetailSchema>

export const ticketListQuerySchema = z.strictObject({
  state: z.enum(ticketStates).default('open').describe('open: what the caller may decide, oldest first'),
  mine: z.stringbool().optional().describe('What the caller asked for, in place of what they may decide'),
  batch_id: z.string().optional().describe('Only tickets of this batch'),
  page_size: z.coerce.number().int().min(1).max(200).default(50),
  page_token: z.string().max(64).optional(),
})

/** What a client may ask for. */
export type TicketFilter = {
  readonly state?: (typeof ticketStates)[number] | undefined
  readonly mine?: boolean | undefined
  readonly batch_id?: string | undefined
  readonly page_size?: number | undefined
  readonly page_token?: string | undefined
}

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'is not a SHA-256 in hexadecimal')
const said = {
  comment: z.string().max(2_000).optional(),
  rule_digest: sha256Schema.optional().describe('Refused with 409 when the rule is another one by now'),
  diff_digest: sha256Schema.optional().describe('Of the dry run that the caller saw'),
}
export const approveRequestSchema = z.strictObject({ ...said, payload_hash: sha256Schema })
export const rejectRequestSchema = z.strictObject({
  ...said,
  payload_hash: sha256Schema.optional(),
  items: z
    .array(z.union([taskIdSchema, z.number().int().min(0)]))
    .min(1)
    .max(10_000)
    .optional()
    .describe('Of a batch, by task id or place in the batch: these are rejected, the rest stays to be decided'),
})
export const withdrawRequestSchema = z.strictObject({ comment: said.comment }).nullish()
export type ApproveRequest = z.input<typeof approveRequestSchema>
export type RejectRequest = z.input<typeof rejectRequestSchema>

export const decisionAnswerSchema = z.object({
  ticket: ticketSchema,
  task: taskSchema.nullable().describe('Null for items of a batch'),
  batch: batchSchema.nullable(),
})
export type DecisionAnswer = z.infer<typeof decisionAnswerSchema>

export const policySchema = z.object({
  version: z.number().int(),
  digest: z.string(),
  source: z.string().describe('The policy as it was written, in YAML'),
  rules: z.array(
    z.object({ name: z.string(), when: z.string().nullable(), outcome: z.enum(['allow', 'deny', 'approval']) }),
  ),
  history: z.array(
    z.object({ version: z.number().int(), digest: z.string(), loaded_by: z.string(), loaded_at: z.string() }),
  ),
})
export type PolicyAnswer = z.infer<typeof policySchema>

export const explainRequestSchema = z.strictObject({
  operation: z.string(),
  input: z.record(z.string(), z.unknown()),
})

/** What policy would make of a request, and why. */
export const explainSchema = z.object({
  outcome: z.enum(['allow', 'deny', 'approval']),
  rule: z.string(),
  explain: z.string(),
  environment: z.string().describe('Where the change would be'),
  may_request: z.boolean().default(true).describe('Whether a role of yours holds there'),
  why_not: z.string().nullable().default(null).describe('Why you may not ask for it'),
  policy_version: z.number().int(),
})
export type Explanation = z.infer<typeof explainSchema>
