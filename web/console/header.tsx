import type { LiveState } from '../../src/client/index.ts'
import { useLiveState, useTickets, type SessionView } from '../../src/react/index.ts'
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
