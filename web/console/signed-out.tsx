import { SluiceProblem } from '../../src/client/index.ts'
import type { LoginFailure } from '../../src/contract/session.ts'
import { useLoginUrl } from '../../src/react/index.ts'
import { Mark } from './mark.tsx'
import { urlOption } from './url-option.ts'

export interface SignedOutProps {
  /** Why: the session was left or ran out, the code or the login was refused, or nothing was tried. */
  readonly reason: Error | LoginFailure | 'ended' | null
}

export function SignedOut({ reason }: SignedOutProps) {
  const loginUrl = useLoginUrl()
  return (
    <main className="page-center">
      <div className="card">
        <Mark large />
        <h1>Sign in to Sluice</h1>
        {reason !== null && (
          <p className="notice" role="alert">
            {explain(reason)}
          </p>
        )}
        {loginUrl !== null && (
          <p>
            <a className="button primary" href={loginUrl}>
              Sign in
            </a>
          </p>
        )}
        <p>
          {loginUrl === null ? 'The console opens with a one-time link.' : 'Or with a one-time link.'} To get a new one:
        </p>
        <ol className="steps">
          <li>
            In the folder where Sluice was started, run
            <code className="command">npx sluice console{urlOption()}</code>
          </li>
          <li>Open the link it prints, in this browser.</li>
        </ol>
        <p className="fine-print">
          A link works once. Add <code>--as approver</code> or <code>--as admin</code> to come in as somebody else.
        </p>
      </div>
    </main>
  )
}

const told = {
  ended: 'Your session has ended.',
  denied: 'The identity provider did not let you in.',
  failed: 'Signing in did not work. Try once more; if it stays so, the log of Sluice says why.',
  stale: 'That took too long, or was begun in another window. Try once more.',
  no_role: 'The identity provider knows you, but you have no role here. Ask an admin for one.',
  unreachable: 'The identity provider does not answer. Try again in a moment.',
} as const satisfies Record<LoginFailure | 'ended', string>

function explain(reason: Error | keyof typeof told): string {
  if (typeof reason === 'string') return told[reason]
  if (reason instanceof SluiceProblem && reason.status < 500) return 'That link was used already, or is too old.'
  return `Signing in did not work: ${reason.message}`
}
