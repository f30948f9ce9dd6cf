import type { SluiceClient } from '../../src/client/index.ts'

/** What became of the one-time code in the address: there was none, it was exchanged, or why not. */
export type SignIn = { readonly kind: 'none' | 'done' } | { readonly kind: 'refused'; readonly error: Error }

/**
 * Exchanges the code of `/?code=…` for a session cookie. It is taken out of the address first, so that it stays in no
 * history and no bookmark. Never rejects.
 */
export async function takeSignInCode(client: Pick<SluiceClient, 'signIn'>): Promise<SignIn> {
  const url = new URL(location.href)
  const code = url.searchParams.get('code')
  if (code === null) return { kind: 'none' }
  url.searchParams.delete('code')
  history.replaceState(history.state, '', url)
  try {
    await client.signIn(code)
    return { kind: 'done' }
  } catch (error) {
    return { kind: 'refused', error: error instanceof Error ? error : new Error(String(error)) }
  }
}
