import { z } from 'zod'
import { eventSchema } from './event.ts'

/** Sent by the client over `GET /live` (WebSocket). Each subscription has an id of the client's choice. */
export const liveRequestSchema = z.union([
  z.strictObject({
    subscribe: z.discriminatedUnion('kind', [
      z.strictObject({ id: z.string().min(1).max(64), kind: z.literal('tasks') }),
      z.strictObject({ id: z.string().min(1).max(64), kind: z.literal('notifications') }),
      z.strictObject({ id: z.string().min(1).max(64), kind: z.literal('task'), task_id: z.string() }),
      z
        .strictObject({
          id: z.string().min(1).max(64),
          kind: z.literal('resource'),
          cluster: z.string().min(1).max(63).default('default'),
          api_version: z.string().min(1).max(317),
          object_kind: z.string().min(1).max(63),
          namespace: z.string().min(1).max(63).optional(),
          name: z.string().min(1).max(253).optional(),
          base_path: z.record(z.string(), z.string()).optional().describe("Fills the cluster's base-path template"),
        })
        .describe('Objects of a cluster as they are now, then every change. Has no cursor: it begins with a snapshot'),
    ]),
    cursor: z
      .string()
      .regex(/^\d{1,19}$/)
      .optional()
      .describe('Resume after this event; without it, from now on'),
  }),
  z.strictObject({ unsubscribe: z.string() }),
])
export type LiveRequest = z.infer<typeof liveRequestSchema>

/** CloudEvents 1.0 in structured JSON mode, with the cursor as an extension attribute. */
export const cloudEventSchema = z.object({
  specversion: z.literal('1.0'),
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string().optional(),
  time: z.string(),
  datacontenttype: z.literal('application/json'),
  cursor: z.string().regex(/^\d+$/),
  traceparent: z.string().optional().describe('W3C trace context in which it happened'),
  data: eventSchema,
})
export type CloudEvent = z.infer<typeof cloudEventSchema>

/**
 * Sent by the server. `reset` means that the cursor is too old: read the list again; the subscription goes on from `cursor`.
 */
export const liveMessageSchema = z.union([
  z.object({ subscription: z.string(), event: cloudEventSchema }),
  z.object({ subscription: z.string(), ready: z.literal(true), cursor: z.string() }),
  z.object({
    subscription: z.string(),
    resource: z.union([
      z.object({
        type: z.enum(['snapshot', 'added', 'modified', 'deleted']),
        object: z.record(z.string(), z.unknown()),
      }),
      z
        .object({ type: z.literal('synced'), found: z.boolean(), current: z.boolean() })
        .describe('All that was told is the whole state; `current`: it was read after the subscription began'),
      z.object({ type: z.literal('unavailable'), detail: z.string() }),
    ]),
  }),
  z.object({ subscription: z.string(), reset: z.literal(true), cursor: z.string() }),
  z
    .object({ heartbeat: z.literal(true) })
    .describe('Every 15 s: a browser sees no PING, and a dead connection is silent'),
  z.object({ subscription: z.string().nullable(), error: z.object({ code: z.string(), detail: z.string() }) }),
])
export type LiveMessage = z.infer<typeof liveMessageSchema>
