import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { fromWireId } from '../../contract/ids.ts'
import { notificationListQuerySchema, notificationPageSchema, preferencesSchema } from '../../contract/notification.ts'
import {
  countUnread,
  listNotifications,
  markAllRead,
  markRead,
  readMuted,
  writeMuted,
} from '../../notifications/inbox.ts'
import { audiencesOf } from '../../notifications/audience.ts'
import type { Reader } from '../../notifications/inbox.sql.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

/** The caller's inbox. */
export function notificationRoutes(app: App, { database }: Services): void {
  app.get(
    '/notifications',
    {
      config: { permission: 'notifications.read' },
      schema: {
        summary: 'What concerns the caller, newest first',
        querystring: notificationListQuerySchema,
        response: { 200: notificationPageSchema },
      },
    },
    async (request) => {
      const { unread = false, page_size: size, page_token: before } = request.query
      const reader = readerOf(request)
      const found = await listNotifications(database, reader, { unread, before, limit: size + 1 })
      const items = found.slice(0, size)
      return {
        items,
        next_page_token: found.length > size ? (items.at(-1)?.seq ?? null) : null,
        unread: await countUnread(database, reader),
      }
    },
  )

  app.get(
    '/notifications/unread-count',
    {
      config: { permission: 'notifications.read' },
      schema: { summary: 'How many are not read', response: { 200: z.object({ unread: z.number().int() }) } },
    },
    async (request) => ({ unread: await countUnread(database, readerOf(request)) }),
  )

  app.post(
    '/notifications/:notification/read',
    {
      config: { permission: 'notifications.write' },
      schema: {
        summary: 'Mark one as read',
        params: z.object({ notification: z.string() }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { notification } = request.params
      const id = fromWireId('notification', notification)
      const marked = id !== undefined && (await markRead(database, readerOf(request), id))
      if (!marked) throw new HttpProblem('not_found', { detail: `There is no notification ${notification}.` })
      return reply.status(204).send(null)
    },
  )

  app.post(
    '/notifications/read-all',
    {
      config: { permission: 'notifications.write' },
      schema: { summary: 'Mark all as read', response: { 200: z.object({ marked: z.number().int() }) } },
    },
    async (request) => ({ marked: await markAllRead(database, readerOf(request)) }),
  )

  app.get(
    '/notifications/preferences',
    {
      config: { permission: 'notifications.read' },
      schema: { summary: 'What the caller hears of', response: { 200: preferencesSchema } },
    },
    async (request) => ({ muted: await readMuted(database, readerOf(request)) }),
  )

  app.put(
    '/notifications/preferences',
    {
      config: { permission: 'notifications.write' },
      schema: { summary: 'Choose what to hear of', body: preferencesSchema, response: { 200: preferencesSchema } },
    },
    async (request) => {
      const muted = [...new Set(request.body.muted)]
      await writeMuted(database, readerOf(request), muted)
      return { muted }
    },
  )
}

export function readerOf(request: FastifyRequest): Reader {
  const { principal, tenant } = callerOf(request)
  return { tenant, name: principal.name, audiences: audiencesOf(tenant, principal) }
}
