import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { createContext, useContext, useEffect, useMemo, useState, useSyncExternalStore, type ReactNode } from 'react'
import { isPassing, SluiceProblem, type LiveState, type SluiceClient } from '../client/index.ts'
import { createLiveUpdates, type LiveUpdates } from './live-updates.ts'
import { sessionKeys } from './query-keys.ts'

interface SluiceContext {
  readonly client: SluiceClient
  readonly updates: LiveUpdates
}

const context = createContext<SluiceContext | null>(null)

export interface SluiceProviderProps {
  readonly client: SluiceClient
  /** Shares an application's own query cache. @default a new one, with `createQueryClient` */
  readonly queryClient?: QueryClient | undefined
  /** False holds the live connection back, for instance until somebody has signed in. @default true */
  readonly live?: boolean | undefined
  readonly children: ReactNode
}

/** Gives the hooks their client and their cache, and keeps the cache live while it is mounted. */
export function SluiceProvider({ client, queryClient, live = true, children }: SluiceProviderProps) {
  const [ownQueryClient] = useState(createQueryClient)
  const cache = queryClient ?? ownQueryClient
  const value = useMemo(() => {
    return { client, updates: createLiveUpdates({ connect: () => client.live(), queryClient: cache }) }
  }, [client, cache])
  const { updates } = value
  useEffect(() => {
    if (!live) return undefined
    updates.start()
    return () => updates.stop()
  }, [updates, live])
  return (
    <context.Provider value={value}>
      <QueryClientProvider client={cache}>{children}</QueryClientProvider>
    </context.Provider>
  )
}

/**
 * A query cache that asks again only where that can help: not where the server refused. An answer of 401 to anything
 * makes it ask who is signed in.
 */
export function createQueryClient(): QueryClient {
  const queryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (error, { queryKey }) => {
        if (!(error instanceof SluiceProblem) || error.status !== 401 || queryKey[1] === sessionKeys.me[1]) return
        void queryClient.invalidateQueries({ queryKey: sessionKeys.me })
      },
    }),
    defaultOptions: {
      queries: { staleTime: 30_000, retry: (failures, error) => failures < 2 && isPassing(error) },
      mutations: { retry: false },
    },
  })
  return queryClient
}

export function useSluiceClient(): SluiceClient {
  return useSluice().client
}

/** Whether changes arrive by themselves at the moment. */
export function useLiveState(): LiveState {
  const { updates } = useSluice()
  return useSyncExternalStore(updates.subscribe, () => updates.state)
}

function useSluice(): SluiceContext {
  const value = useContext(context)
  if (value === null) throw new Error('Sluice hooks need a <SluiceProvider client={…}> around them.')
  return value
}
