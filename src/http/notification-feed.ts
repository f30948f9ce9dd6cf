import type { Notification } from '../contract/notification.ts'
import type { LoggedEvent } from '../live/feed.sql.ts'
import { listNewNotifications } from '../notifications/inbox.ts'
import type { Reader } from '../notifications/inbox.sql.ts'
import type { Services } from './services.ts'

export interface NotificationSubscription {
  readonly reader: Reader
  /** Exclusive; without it, from now on. */
  readonly after?: bigint
  /** Called in order, once each. */
  onNotification(notification: Notification): void
  onReady(cursor: bigint): void
  onError(error: unknown): void
}

// What makes notifications, as the trigger of migration 0038 says.
const telling = /^task\.(requested|approved|rejected|expired|completed|failed|timed_out|cancelled)$/
const tells = ({ type, taskId, payload }: LoggedEvent): boolean =>
  taskId === null ? 'notify' in payload : telling.test(type)

/**
 * The notifications of one person, live. They commit with their events, so the feed of events says when to look and how
 * far: nothing is missed and nothing comes twice. Events that come while one look is under way share the next.
 */
export function subscribeNotifications(services: Services, subscription: NotificationSubscription): () => void {
  const { feed, database } = services
  let last = subscription.after ?? feed.cursor
  let upTo = last
  let open = true
  let looking = false

  const look = async (): Promise<void> => {
    if (looking) return
    looking = true
    try {
      while (open && upTo > last) {
        const goal = upTo
        const found = await listNewNotifications(database, subscription.reader, { after: last, upTo: goal })
        if (!open) return
        for (const notification of found) subscription.onNotification(notification)
        // A full page goes on after its last one.
        last = found.length < 1000 ? goal : BigInt(found.at(-1)?.seq ?? goal)
      }
    } finally {
      looking = false
    }
  }

  const fail = (error: unknown): void => {
    if (open) subscription.onError(error)
  }
  const unsubscribe = feed.subscribe({
    tenant: subscription.reader.tenant,
    after: last,
    onEvent: (event) => {
      if (!tells(event)) return
      upTo = event.seq
      look().catch(fail)
    },
    onReady: (cursor) => subscription.onReady(cursor),
    onError: fail,
  })
  return () => {
    open = false
    unsubscribe()
  }
}
