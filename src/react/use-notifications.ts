import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import type { InboxFilter } from '../client/index.ts'
import type { Notification, NotificationKind } from '../contract/notification.ts'
import { inboxKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'
import { useFreshness } from './use-freshness.ts'
import { usePages } from './use-pages.ts'
import type { ListView } from './use-tasks.ts'

export interface NotificationsView extends ListView {
  readonly notifications: readonly Notification[]
  readonly markRead: (notificationId: string) => void
  readonly markAllRead: () => void
}

/** What concerns the caller, newest first, kept live. */
export function useNotifications(filter: InboxFilter = {}): NotificationsView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const freshness = useFreshness()
  const pageSize = filter.page_size ?? 50
  const { pageToken, pagingTo } = usePages(filter, pageSize)
  const query = { ...filter, page_size: pageSize, page_token: pageToken }
  const { data, error, isPending, isPlaceholderData, refetch } = useQuery({
    queryKey: inboxKeys.list(query),
    queryFn: ({ signal }) => client.listNotifications(query, { signal }),
    placeholderData: keepPreviousData,
    refetchInterval: () => freshness.refetchInterval(false),
  })
  const { mutate } = useMutation({
    mutationFn: async (one: string | null) => {
      await (one === null ? client.markAllNotificationsRead() : client.markNotificationRead(one))
    },
    onSettled: () => queryClient.invalidateQueries({ queryKey: inboxKeys.all }),
  })
  const notifications = data?.items ?? []
  return {
    state: isPending ? 'loading' : data === undefined ? 'error' : notifications.length === 0 ? 'empty' : 'ready',
    notifications,
    stale: data !== undefined && (freshness.stale || error !== null),
    changing: isPlaceholderData,
    error,
    retry: () => void refetch(),
    paging: pagingTo(data?.next_page_token ?? null, isPlaceholderData),
    markRead: (notificationId) => mutate(notificationId),
    markAllRead: () => mutate(null),
  }
}

/** How many are unread; 0 while nobody knows. */
export function useUnread(): number {
  const client = useSluiceClient()
  const freshness = useFreshness()
  const { data = 0 } = useQuery({
    queryKey: inboxKeys.unread,
    queryFn: ({ signal }) => client.unreadNotifications({ signal }),
    refetchInterval: () => freshness.refetchInterval(false),
  })
  return data
}

export interface MutedView {
  readonly state: 'loading' | 'error' | 'ready'
  readonly muted: readonly NotificationKind[]
  readonly error: Error | null
  readonly setMuted: (kind: NotificationKind, muted: boolean) => void
}

/** What the caller does not want to hear of. */
export function useMuted(): MutedView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const { data, error, isPending } = useQuery({
    queryKey: inboxKeys.muted,
    queryFn: ({ signal }) => client.mutedNotifications({ signal }),
  })
  const change = useMutation({
    mutationFn: (kinds: readonly NotificationKind[]) => client.muteNotifications(kinds),
    // Shown at once; what the server has is shown again where it refuses.
    onMutate: (kinds) => queryClient.setQueryData(inboxKeys.muted, kinds),
    onSettled: () => queryClient.invalidateQueries({ queryKey: inboxKeys.muted }),
  })
  const muted = data ?? []
  return {
    state: isPending ? 'loading' : data === undefined ? 'error' : 'ready',
    muted,
    error: error ?? change.error,
    setMuted: (kind, mute) => change.mutate(mute ? [...muted, kind] : muted.filter((one) => one !== kind)),
  }
}
