import { z } from 'zod'

export const notificationKinds = [
  'approval_pending',
  'approval_decided',
  'approval_expired',
  'approval_changed',
  'task_ended',
  'batch_ended',
  'dead_letter',
  'schedule_skipped',
] as const
export type NotificationKind = (typeof notificationKinds)[number]

/** Something that happened and concerns the caller. */
export const notificationSchema = z.object({
  notification_id: z.string(),
  seq: z.string().regex(/^\d+$/).describe('Of the event that it tells of: the cursor of the live feed'),
  kind: z.enum(notificationKinds),
  title: z.string().describe('A sentence for people'),
  task_id: z.string().nullable(),
  ticket_id: z.string().nullable(),
  batch_id: z.string().nullable(),
  data: z.record(z.string(), z.unknown()),
  read: z.boolean(),
  created_at: z.string(),
})
export type Notification = z.infer<typeof notificationSchema>

export const notificationPageSchema = z.object({
  items: z.array(notificationSchema),
  next_page_token: z.string().nullable(),
  unread: z.number().int().describe('Of all, not of this page'),
})
export type NotificationPage = z.infer<typeof notificationPageSchema>

export const notificationListQuerySchema = z.strictObject({
  unread: z.stringbool().optional().describe('Only what is not read yet'),
  page_size: z.coerce.number().int().min(1).max(200).default(50),
  page_token: z
    .string()
    .regex(/^\d{1,19}$/, 'is not one that a list returned')
    .optional(),
})

export const preferencesSchema = z.strictObject({
  muted: z
    .array(z.enum(notificationKinds))
    .max(notificationKinds.length)
    .describe('What the caller does not want to hear of'),
})
