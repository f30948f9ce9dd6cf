import { z } from 'zod'
import type { NotificationKind } from '../contract/notification.ts'
import {
  type Delivery,
  deliveryPageSchema,
  deliverySchema,
  newWebhookSchema,
  type Webhook,
  type webhookChangeSchema,
  webhookPageSchema,
  webhookWithSecretSchema,
} from '../contract/webhook.ts'
import type { Exchange } from './exchange.ts'

interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** With its secret where a new one was made: the answer alone shows it. */
export type WebhookWithSecret = z.infer<typeof webhookWithSecretSchema>

/** Where notifications of the tenant go besides the inbox: part of the client. Every method throws as the others do. */
export interface WebhookCalls {
  listWebhooks(options?: CallOptions): Promise<Webhook[]>
  createWebhook(
    webhook: {
      readonly url: string
      readonly style?: Webhook['style'] | undefined
      readonly kinds?: readonly NotificationKind[] | undefined
    },
    options?: CallOptions,
  ): Promise<WebhookWithSecret>
  /** Another URL gets another secret. */
  changeWebhook(
    webhookId: string,
    change: z.input<typeof webhookChangeSchema>,
    options?: CallOptions,
  ): Promise<WebhookWithSecret>
  /** A new secret; the one before signs along for a day. */
  rotateWebhookSecret(webhookId: string, options?: CallOptions): Promise<WebhookWithSecret>
  deleteWebhook(webhookId: string, options?: CallOptions): Promise<void>
  /** What was sent, or tried, newest first. */
  listDeliveries(webhookId: string, options?: CallOptions): Promise<Delivery[]>
  /** Sends a message once more. */
  replayDelivery(webhookId: string, deliveryId: string, options?: CallOptions): Promise<Delivery>
}

export function createWebhookCalls(exchange: Exchange): WebhookCalls {
  const pathOf = (id: string): string => `/webhooks/${encodeURIComponent(id)}`
  return {
    listWebhooks: async ({ signal } = {}) =>
      (await exchange.request(webhookPageSchema, { path: '/webhooks', signal })).items,
    createWebhook: (webhook, { signal } = {}) =>
      exchange.request(webhookWithSecretSchema, {
        method: 'POST',
        path: '/webhooks',
        body: newWebhookSchema.parse(webhook),
        signal,
      }),
    changeWebhook: (id, change, { signal } = {}) =>
      exchange.request(webhookWithSecretSchema, { method: 'PATCH', path: pathOf(id), body: change, signal }),
    rotateWebhookSecret: (id, { signal } = {}) =>
      exchange.request(webhookWithSecretSchema, { method: 'POST', path: `${pathOf(id)}/rotate`, signal }),
    deleteWebhook: async (id, { signal } = {}) => {
      await exchange.request(z.unknown(), { method: 'DELETE', path: pathOf(id), signal })
    },
    listDeliveries: async (id, { signal } = {}) =>
      (await exchange.request(deliveryPageSchema, { path: `${pathOf(id)}/deliveries`, signal })).items,
    replayDelivery: (id, deliveryId, { signal } = {}) =>
      exchange.request(deliverySchema, {
        method: 'POST',
        path: `${pathOf(id)}/deliveries/${encodeURIComponent(deliveryId)}/replay`,
        signal,
      }),
  }
}
