import type { Notification, NotificationKind } from '../../src/contract/notification.ts'
import { Moment, useMuted, useNotifications } from '../../src/react/index.ts'
import { frontOf, linkTo, type Address, type useAddress } from './address.ts'
import { ListFrame } from './list-frame.tsx'

interface NotificationsProps {
  readonly address: Address
  readonly go: ReturnType<typeof useAddress>['go']
}

/** What happened and concerns the reader, newest first. */
export function Notifications({ address, go }: NotificationsProps) {
  const unread = address.unread
  const view = useNotifications(unread ? { unread } : {})
  const anyUnread = view.notifications.some(({ read }) => !read)
  return (
    <main className="workspace">
      <div className="workspace-list">
        <div className="toolbar">
          <h1>Notifications</h1>
          <button type="button" className="toolbar-new" disabled={!anyUnread} onClick={view.markAllRead}>
            Mark all as read
          </button>
          <nav className="views" aria-label="Which notifications">
            <a aria-current={unread ? undefined : 'page'} {...linkTo({ ...address, unread: false }, go)}>
              All
            </a>
            <a aria-current={unread ? 'page' : undefined} {...linkTo({ ...address, unread: true }, go)}>
              Unread
            </a>
          </nav>
        </div>
        <ListFrame
          label="Notifications"
          view={view}
          shown={view.notifications.length}
          empty={<Nothing unread={unread} />}
        >
          <ol className="task-rows" data-changing={view.changing}>
            {view.notifications.map((one) => (
              <li key={one.notification_id}>
                <Row one={one} go={go} markRead={view.markRead} />
              </li>
            ))}
          </ol>
        </ListFrame>
        <Preferences />
      </div>
    </main>
  )
}

interface RowProps extends Pick<NotificationsProps, 'go'> {
  readonly one: Notification
  readonly markRead: (notificationId: string) => void
}

function Row({ one, go, markRead }: RowProps) {
  const to = destination(one)
  const { href, onClick } = linkTo(to ?? frontOf('notifications'), go)
  const text = (
    <>
      <span className="notification-title">{one.title}</span>
      {!one.read && <span className="visually-hidden">unread</span>}
      <Moment at={one.created_at} />
    </>
  )
  return (
    <div className="notification" data-read={one.read}>
      {to === null ? (
        <span className="notification-text">{text}</span>
      ) : (
        <a
          className="notification-text"
          href={href}
          onClick={(event) => {
            if (!one.read) markRead(one.notification_id)
            onClick(event)
          }}
        >
          {text}
        </a>
      )}
      {!one.read && (
        <button type="button" className="quiet" onClick={() => markRead(one.notification_id)}>
          Mark as read
        </button>
      )}
    </div>
  )
}

/** Where it can be looked at: the request while it waits, the task otherwise. */
function destination({ kind, task_id: task, ticket_id: ticket }: Notification): Address | null {
  const pending = kind === 'approval_pending' || kind === 'approval_changed'
  if (ticket !== null && (pending || task === null)) return { ...frontOf('approvals'), ticket }
  return task === null ? null : { ...frontOf('tasks'), task }
}

function Nothing({ unread }: { readonly unread: boolean }) {
  return (
    <div className="blank">
      <h2>{unread ? 'Nothing unread' : 'Nothing happened yet'}</h2>
      <p>What waits for your approval, and what became of what you asked for, is told here.</p>
    </div>
  )
}

const kinds = {
  approval_pending: 'What waits for my approval',
  approval_decided: 'Decisions on what I asked for',
  approval_expired: 'Requests of mine that nobody decided in time',
  approval_changed: 'Requests that meet another rule',
  task_ended: 'The end of my tasks',
  batch_ended: 'The end of my batches',
  dead_letter: 'Tasks that used up their attempts',
  schedule_skipped: 'Schedules of mine that were skipped',
} as const satisfies Record<NotificationKind, string>

function Preferences() {
  const { state, muted, error, setMuted } = useMuted()
  return (
    <details className="preferences">
      <summary>What to tell me</summary>
      {error !== null && (
        <p role="alert" className="field-error">
          {error.message}
        </p>
      )}
      {state === 'ready' && (
        <ul>
          {Object.entries(kinds).map(([kind, title]) => (
            <li key={kind}>
              <label>
                <input
                  type="checkbox"
                  checked={!muted.some((one) => one === kind)}
                  // The keys of `kinds` are the kinds.
                  onChange={(event) => setMuted(kind as NotificationKind, !event.target.checked)}
                />
                {title}
              </label>
            </li>
          ))}
        </ul>
      )}
    </details>
  )
}
