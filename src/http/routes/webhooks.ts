import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { fromWireId, toWireId } from '../../contract/ids.ts'
import {
  type Delivery,
  deliveryPageSchema,
  deliverySchema,
  newWebhookSchema,
  type Webhook,
  webhookChangeSchema,
  webhookPageSchema,
  webhookWithSecretSchema,
} from '../../contract/webhook.ts'
import { RefusedAddressError } from '../../platform/public-address.ts'
import {
  changeWebhook,
  createWebhook,
  deleteWebhook,
  listDeliveries,
  listWebhooks,
  NoMailServerError,
  replayDelivery,
  rotateSecret,
  shownUrl,
  type WebhookActor,
  type WebhookWithSecret,
} from '../../notifications/webhooks.ts'
import type { DeliveryRow, WebhookRow } from '../../notifications/webhooks.sql.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

const params = z.object({ webhook: z.string() })

/** Where the tenant's notifications go besides the inbox: for admins. */
export function webhookRoutes(app: App, services: Services): void {
  const shown = (row: WebhookRow) => toWebhook(services, row)
  const withSecret = ({ webhook, secret }: WebhookWithSecret) => ({ ...shown(webhook), secret })

  app.get(
    '/webhooks',
    { config: { permission: 'webhooks.read' }, schema: { summary: 'Webhooks', response: { 200: webhookPageSchema } } },
    async (request) => {
      const { tenant } = actorOf(request)
      return { items: (await listWebhooks(services, tenant)).map(shown), next_page_token: null }
    },
  )

  app.post(
    '/webhooks',
    {
      config: { permission: 'webhooks.write' },
      schema: {
        summary: 'Send notifications to a URL; the answer shows the secret, once',
        body: newWebhookSchema,
        response: { 201: webhookWithSecretSchema },
      },
    },
    async (request, reply) => {
      const made = await refusing(() => createWebhook(services, actorOf(request), request.body))
      return reply.status(201).send(withSecret(made))
    },
  )

  app.patch(
    '/webhooks/:webhook',
    {
      config: { permission: 'webhooks.write' },
      schema: {
        summary: 'Change a webhook',
        params,
        body: webhookChangeSchema,
        response: { 200: webhookWithSecretSchema },
      },
    },
    async (request) => {
      const id = webhookIdOf(request.params.webhook)
      const changed = await refusing(() => changeWebhook(services, actorOf(request), { id, ...request.body }))
      return withSecret(existing(changed))
    },
  )

  app.post(
    '/webhooks/:webhook/rotate',
    {
      config: { permission: 'webhooks.write' },
      schema: { summary: 'A new secret', params, response: { 200: webhookWithSecretSchema } },
    },
    async (request) => {
      const id = webhookIdOf(request.params.webhook)
      return withSecret(existing(await refusing(() => rotateSecret(services, actorOf(request), id))))
    },
  )

  app.delete(
    '/webhooks/:webhook',
    {
      config: { permission: 'webhooks.write' },
      schema: { summary: 'Send nothing there any more', params, response: { 204: z.null() } },
    },
    async (request, reply) => {
      const removed = await deleteWebhook(services, actorOf(request), webhookIdOf(request.params.webhook))
      existing(removed || undefined)
      return reply.status(204).send(null)
    },
  )

  deliveryRoutes(app, services)
}

function deliveryRoutes(app: App, services: Services): void {
  app.get(
    '/webhooks/:webhook/deliveries',
    {
      config: { permission: 'webhooks.read' },
      schema: {
        summary: 'What was sent, newest first, with every try',
        params,
        querystring: z.strictObject({
          page_size: z.coerce.number().int().min(1).max(200).default(50),
          page_token: z.iso.datetime().optional(),
        }),
        response: { 200: deliveryPageSchema },
      },
    },
    async (request) => {
      const { page_size: size, page_token: token } = request.query
      const before = token === undefined ? undefined : new Date(token)
      const id = webhookIdOf(request.params.webhook)
      const rows = existing(await listDeliveries(services, actorOf(request).tenant, { id, before, limit: size + 1 }))
      const page = rows.slice(0, size)
      const next = rows.length > size ? (page.at(-1)?.created_at.toISOString() ?? null) : null
      return { items: page.map(toDelivery), next_page_token: next }
    },
  )

  app.post(
    '/webhooks/:webhook/deliveries/:delivery/replay',
    {
      config: { permission: 'webhooks.write' },
      schema: {
        summary: 'Send a message once more',
        params: params.extend({ delivery: z.string() }),
        response: { 201: deliverySchema },
      },
    },
    async (request, reply) => {
      const id = webhookIdOf(request.params.webhook)
      const deliveryId = fromWireId('delivery', request.params.delivery)
      const again =
        deliveryId === undefined ? undefined : await replayDelivery(services, actorOf(request), { id, deliveryId })
      return reply.status(201).send(toDelivery(existing(again)))
    },
  )
}

function actorOf(request: FastifyRequest): WebhookActor {
  const { principal, tenant } = callerOf(request)
  return { tenant, name: principal.name }
}

async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof RefusedAddressError) {
      const errors = [{ pointer: '/url', message: error.message }]
      throw new HttpProblem('invalid_input', { detail: error.message, errors, cause: error })
    }
    if (error instanceof NoMailServerError) {
      throw new HttpProblem('no_mail_server', { detail: error.message, cause: error })
    }
    throw error
  }
}

function webhookIdOf(wireId: string): string {
  const id = fromWireId('webhook', wireId)
  if (id === undefined) throw new HttpProblem('not_found', { detail: `${wireId} is not a webhook id.` })
  return id
}

function existing<T>(found: T | undefined): T {
  if (found === undefined) throw new HttpProblem('not_found', { detail: 'There is no such webhook or delivery.' })
  return found
}

function toWebhook(services: Services, row: WebhookRow): Webhook {
  return {
    webhook_id: toWireId('webhook', row.webhook_id),
    style: row.style,
    url: shownUrl(services, row),
    kinds: row.kinds,
    disabled_at: row.disabled_at?.toISOString() ?? null,
    disabled_reason: row.disabled_reason,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
  }
}

function toDelivery(row: DeliveryRow): Delivery {
  return {
    delivery_id: toWireId('delivery', row.delivery_id),
    kind: row.body.type,
    state: row.state,
    tries: row.tries,
    replay_of: row.replay_of && toWireId('delivery', row.replay_of),
    created_at: row.created_at.toISOString(),
    ended_at: row.ended_at?.toISOString() ?? null,
  }
}
