import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { SluiceProblem } from '../client/index.ts'
import type { Me } from '../contract/session.ts'
import { sessionKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'

export interface SessionView {
  readonly state: 'loading' | 'error' | 'signed-out' | 'signed-in'
  readonly me: Me | null
  readonly error: Error | null
  readonly retry: () => void
  /** Ends the session and forgets everything that was read under it. */
  readonly signOut: () => void
}

/** Who is signed in, by a cookie or the client's token. */
export function useSession(): SessionView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const me = useQuery({
    queryKey: sessionKeys.me,
    queryFn: async ({ signal }) => {
      try {
        return await client.me({ signal })
      } catch (error) {
        if (isSignedOut(error)) return null
        throw error
      }
    },
    staleTime: 60_000,
    refetchInterval: ({ state }) => state.status === 'error' && 5_000,
  })
  const { mutate } = useMutation({
    mutationFn: () =>
      client.signOut().catch((error: unknown) => {
        // Over already is what was asked for.
        if (isSignedOut(error)) return { logout_url: null }
        throw error
      }),
    onSuccess: ({ logout_url: logoutUrl }) => {
      queryClient.setQueryData(sessionKeys.me, null)
      queryClient.removeQueries({ predicate: ({ queryKey }) => queryKey[1] !== sessionKeys.me[1] })
      // Else the next one at this screen would be let in again without a question.
      if (logoutUrl !== null) location.assign(logoutUrl)
    },
  })
  const state = me.isPending
    ? 'loading'
    : me.data === undefined
      ? 'error'
      : me.data === null
        ? 'signed-out'
        : 'signed-in'
  return { state, me: me.data ?? null, error: me.error, retry: () => void me.refetch(), signOut: () => mutate() }
}

/** Where a browser may sign in at an identity provider; null where there is none, or nobody knows yet. */
export function useLoginUrl(): string | null {
  const client = useSluiceClient()
  const { data } = useQuery({
    queryKey: sessionKeys.options,
    queryFn: ({ signal }) => client.signInOptions({ signal }),
  })
  return data?.login_url ?? null
}

function isSignedOut(error: unknown): boolean {
  return error instanceof SluiceProblem && error.status === 401
}
