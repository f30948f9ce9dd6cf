import { Suspense, use, useState } from 'react'
import type { SluiceClient } from '../../src/client/index.ts'
import { createQueryClient, SluiceProvider, useSession, type SessionView } from '../../src/react/index.ts'
import { useAddress } from './address.ts'
import { Approvals } from './approvals.tsx'
import { Mark } from './mark.tsx'
import { Header } from './header.tsx'
import { Notifications } from './notifications.tsx'
import { SignedOut } from './signed-out.tsx'
import type { SignIn } from './sign-in-code.ts'
import { Workspace } from './workspace.tsx'

export interface ConsoleProps {
  readonly client: SluiceClient
  readonly signIn: Promise<SignIn>
}

export function Console({ client, signIn }: ConsoleProps) {
  const [queryClient] = useState(createQueryClient)
  return (
    <SluiceProvider client={client} queryClient={queryClient} live={false}>
      <Suspense fallback={<Opening />}>
        <Door client={client} queryClient={queryClient} signIn={signIn} />
      </Suspense>
    </SluiceProvider>
  )
}

/** Lets in who is signed in, and tells everybody else how to get there. */
function Door({
  client,
  queryClient,
  signIn,
}: ConsoleProps & { readonly queryClient: ReturnType<typeof createQueryClient> }) {
  const outcome = use(signIn)
  const session = useSession()
  const [wasIn, setWasIn] = useState(false)
  if (session.state === 'signed-in' && !wasIn) setWasIn(true)
  switch (session.state) {
    case 'loading':
      return <Opening />
    case 'error':
      return <NoAnswer error={session.error} retry={session.retry} />
    case 'signed-out':
      return <SignedOut reason={wasIn ? 'ended' : outcome.kind === 'refused' ? outcome.reason : null} />
    case 'signed-in':
      return (
        // The live connection needs the cookie, so it begins here.
        <SluiceProvider client={client} queryClient={queryClient}>
          <Pages session={session} />
        </SluiceProvider>
      )
  }
}

function Pages({ session }: { readonly session: SessionView }) {
  const { address, go } = useAddress()
  return (
    <>
      <Header session={session} address={address} go={go} />
      {address.page === 'tasks' && <Workspace address={address} go={go} />}
      {address.page === 'approvals' && <Approvals address={address} go={go} principal={session.me?.principal ?? ''} />}
      {address.page === 'notifications' && <Notifications address={address} go={go} />}
    </>
  )
}

function Opening() {
  return (
    <main className="page-center" aria-busy="true">
      <Mark large />
      <p className="visually-hidden">Opening Sluice…</p>
    </main>
  )
}

function NoAnswer({ error, retry }: { readonly error: Error | null; readonly retry: () => void }) {
  return (
    <main className="page-center">
      <div className="card" role="alert">
        <Mark large />
        <h1>Sluice does not answer</h1>
        <p>It may be starting, or have been stopped. This page tries again every few seconds.</p>
        {error !== null && <p className="fine-print">{error.message}</p>}
        <button type="button" className="primary" onClick={retry}>
          Try now
        </button>
      </div>
    </main>
  )
}
