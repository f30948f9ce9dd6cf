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
    mutationFn: async () => {
      // Over already is what was asked for.
      await client.signOut().catch((error: unknown) => {
        if (!isSignedOut(error)) throw error
      })
    },
    onSuccess: () => {
      queryClient.setQueryData(sessionKeys.me, null)
      queryClient.removeQueries({ predicate: ({ queryKey }) => queryKey[1] !== sessionKeys.me[1] })
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

function isSignedOut(error: unknown): boolean {
  return error instanceof SluiceProblem && error.status === 401
}
