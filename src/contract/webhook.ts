import { z } from 'zod'
import { notificationKinds } from './notification.ts'

const webhookStyles = ['standard', 'slack', 'email'] as const

/** Where notifications of the tenant go besides the inbox. The secret is never shown again. */
export const webhookSchema = z.object({
  webhook_id: z.string(),
  style: z
    .enum(webhookStyles)
    .describe(
      'standard: Standard Webhooks, signed · slack: an incoming webhook of Slack, or alike · email: mailto:somebody@example.com',
    ),
  url: z.string().describe('For slack without its path, which is a secret'),
  kinds: z.array(z.enum(notificationKinds)),
  disabled_at: z.string().nullable(),
  disabled_reason: z.string().nullable(),
  created_by: z.string(),
  created_at: z.string(),
})
export type Webhook = z.infer<typeof webhookSchema>

export const webhookPageSchema = z.object({ items: z.array(webhookSchema), next_page_token: z.string().nullable() })

const url = z.string().min(1).max(2_048)
const kinds = z.array(z.enum(notificationKinds)).min(1).max(notificationKinds.length)
export const newWebhookSchema = z.strictObject({
  style: z.enum(webhookStyles).default('standard'),
  url,
  kinds: kinds.default([...notificationKinds]),
})
export const webhookChangeSchema = z.strictObject({
  url: url.optional().describe('Another URL gets another secret; the one before is discarded'),
  kinds: kinds.optional(),
  enabled: z.boolean().optional(),
})

/** With the secret where a new one was made: shown this once. */
export const webhookWithSecretSchema = webhookSchema.extend({ secret: z.string().nullable() })

export const deliverySchema = z.object({
  delivery_id: z.string(),
  kind: z.string(),
  state: z.enum(['pending', 'delivered', 'failed']),
  tries: z.array(
    z.object({
      at: z.string(),
      status: z.number().int().nullable(),
      error: z.string().nullable(),
      duration_ms: z.number().int(),
    }),
  ),
  replay_of: z.string().nullable(),
  created_at: z.string(),
  ended_at: z.string().nullable(),
})
export const deliveryPageSchema = z.object({ items: z.array(deliverySchema), next_page_token: z.string().nullable() })
export type Delivery = z.infer<typeof deliverySchema>
