import { z } from 'zod'
import {
  type NotificationKind,
  type NotificationPage,
  notificationPageSchema,
  preferencesSchema,
} from '../contract/notification.ts'
import type { Exchange } from './exchange.ts'

interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** A page of the caller's inbox. */
export interface InboxFilter {
  /** Only what is not read yet. @default false */
  readonly unread?: boolean | undefined
  /** 1 to 200. @default 50 */
  readonly page_size?: number | undefined
  readonly page_token?: string | undefined
}

/** What concerns the caller: part of the client. Every method throws as the others do. */
export interface InboxCalls {
  /** Newest first, with the number of all that are unread. */
  listNotifications(filter?: InboxFilter, options?: CallOptions): Promise<NotificationPage>
  unreadNotifications(options?: CallOptions): Promise<number>
  markNotificationRead(notificationId: string, options?: CallOptions): Promise<void>
  /** Answers how many were not read before. */
  markAllNotificationsRead(options?: CallOptions): Promise<number>
  /** The kinds that the caller does not want to hear of. */
  mutedNotifications(options?: CallOptions): Promise<NotificationKind[]>
  muteNotifications(kinds: readonly NotificationKind[], options?: CallOptions): Promise<NotificationKind[]>
}

export function createInboxCalls(exchange: Exchange): InboxCalls {
  const inbox = '/notifications'
  return {
    listNotifications: ({ unread, ...page } = {}, { signal } = {}) =>
      exchange.request(notificationPageSchema, {
        path: inbox,
        query: { ...page, unread: unread?.toString() },
        signal,
      }),
    unreadNotifications: async ({ signal } = {}) =>
      (await exchange.request(z.object({ unread: z.number() }), { path: `${inbox}/unread-count`, signal })).unread,
    markNotificationRead: async (notificationId, { signal } = {}) => {
      const path = `${inbox}/${encodeURIComponent(notificationId)}/read`
      await exchange.request(z.unknown(), { method: 'POST', path, signal })
    },
    markAllNotificationsRead: async ({ signal } = {}) => {
      const schema = z.object({ marked: z.number() })
      return (await exchange.request(schema, { method: 'POST', path: `${inbox}/read-all`, signal })).marked
    },
    mutedNotifications: async ({ signal } = {}) =>
      (await exchange.request(preferencesSchema, { path: `${inbox}/preferences`, signal })).muted,
    muteNotifications: async (kinds, { signal } = {}) => {
      const call = { method: 'PUT' as const, path: `${inbox}/preferences`, body: { muted: kinds }, signal }
      return (await exchange.request(preferencesSchema, call)).muted
    },
  }
}
