import type { SluiceClient } from '../../src/client/index.ts'
import { loginFailures, type LoginFailure } from '../../src/contract/session.ts'

/** What became of the login, or of the one-time code in the address: there was none, it was exchanged, or why not. */
export type SignIn =
  { readonly kind: 'none' | 'done' } | { readonly kind: 'refused'; readonly reason: Error | LoginFailure }

/**
 * Exchanges the code of `/?code=…` for a session cookie, or reads why a login failed (`/?login=…`). Both are taken out of
 * the address first, so that they stay in no history and no bookmark. Never rejects.
 */
export async function takeSignInCode(client: Pick<SluiceClient, 'signIn'>): Promise<SignIn> {
  const url = new URL(location.href)
  const code = url.searchParams.get('code')
  const failure = loginFailures.find((name) => name === url.searchParams.get('login'))
  url.searchParams.delete('code')
  url.searchParams.delete('login')
  if (url.href !== location.href) history.replaceState(history.state, '', url)
  if (failure !== undefined) return { kind: 'refused', reason: failure }
  if (code === null) return { kind: 'none' }
  try {
    await client.signIn(code)
    return { kind: 'done' }
  } catch (error) {
    return { kind: 'refused', reason: error instanceof Error ? error : new Error(String(error)) }
  }
}
