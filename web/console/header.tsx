import type { LiveState } from '../../src/client/index.ts'
import { useLiveState, useTickets, useUnread, type SessionView } from '../../src/react/index.ts'
import { frontOf, linkTo, type Address, type PageName, type useAddress } from './address.ts'
import { Mark } from './mark.tsx'
import { inboxes } from './views.ts'

export interface HeaderProps {
  readonly session: SessionView
  readonly address: Address
  readonly go: ReturnType<typeof useAddress>['go']
}

export function Header({ session, address, go }: HeaderProps) {
  const link = (page: PageName) => ({
    'aria-current': page === address.page ? ('page' as const) : undefined,
    ...linkTo(frontOf(page), go),
  })
  return (
    <header className="header">
      <a className="brand" href="/" aria-label="Sluice">
        <Mark />
        <span className="brand-name">Sluice</span>
      </a>
      <nav className="pages" aria-label="Pages">
        <a {...link('tasks')}>Tasks</a>
        {session.me?.permissions.includes('approvals.read') === true && (
          <a {...link('approvals')}>
            Approvals
            <ToDecide />
          </a>
        )}
      </nav>
      <LiveIndicator />
      {session.me?.permissions.includes('notifications.read') === true && (
        <a className="bell" {...link('notifications')}>
          <Bell />
        </a>
      )}
      <div className="account">
        <span className="account-name">
          {session.me?.principal}
          <span className="account-tenant">{session.me?.tenant}</span>
        </span>
        <button type="button" className="quiet" onClick={session.signOut}>
          Sign out
        </button>
      </div>
    </header>
  )
}

function ToDecide() {
  const { tickets, paging } = useTickets(inboxes.open.filter)
  if (tickets.length === 0) return null
  return (
    <span className="count">
      {tickets.length}
      {paging.hasOlder && '+'}
      <span className="visually-hidden"> to decide</span>
    </span>
  )
}

function Bell() {
  const unread = useUnread()
  return (
    <>
      <span className="visually-hidden">Notifications</span>
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <path d="M10 2.5a4.5 4.5 0 0 0-4.5 4.5c0 4.5-2 5.5-2 6.5h13c0-1-2-2-2-6.5A4.5 4.5 0 0 0 10 2.5ZM8 16a2 2 0 0 0 4 0" />
      </svg>
      {unread > 0 && (
        <span className="count">
          {unread > 99 ? '99+' : unread}
          <span className="visually-hidden"> unread</span>
        </span>
      )}
    </>
  )
}

const words = {
  connecting: 'Connecting…',
  open: 'Live',
  reconnecting: 'Reconnecting…',
  stopped: 'Not live',
} as const satisfies Record<LiveState, string>

function LiveIndicator() {
  const state = useLiveState()
  return (
    <span className="live" role="status" data-state={state}>
      {words[state]}
    </span>
  )
}
