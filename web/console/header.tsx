import type { LiveState } from '../../src/client/index.ts'
import { useLiveState, type SessionView } from '../../src/react/index.ts'
import { Mark } from './mark.tsx'

export function Header({ session }: { readonly session: SessionView }) {
  return (
    <header className="header">
      <a className="brand" href="/">
        <Mark />
        Sluice
      </a>
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
