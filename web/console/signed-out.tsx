import { SluiceProblem } from '../../src/client/index.ts'
import { Mark } from './mark.tsx'
import { urlOption } from './url-option.ts'

export interface SignedOutProps {
  /** Why: the session was left or ran out, the code was refused, or nothing was tried. */
  readonly reason: Error | 'ended' | null
}

export function SignedOut({ reason }: SignedOutProps) {
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
        <p>The console opens with a one-time link. To get a new one:</p>
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

function explain(reason: Error | 'ended'): string {
  if (reason === 'ended') return 'Your session has ended.'
  if (reason instanceof SluiceProblem && reason.status < 500) return 'That link was used already, or is too old.'
  return `Signing in did not work: ${reason.message}`
}
