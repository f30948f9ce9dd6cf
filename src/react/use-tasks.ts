import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import type { TaskFilter } from '../contract/task-list.ts'
import type { Task } from '../contract/task.ts'
import { taskKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'
import { useFreshness } from './use-freshness.ts'

export interface TasksView {
  /** `empty`: there is no such task (yet). `error`: nothing to show; with something to show it is `stale` instead. */
  readonly state: 'loading' | 'error' | 'empty' | 'ready'
  readonly tasks: readonly Task[]
  /** What is shown may be out of date: the live connection is gone, or the last reading failed. */
  readonly stale: boolean
  /** Another page or filter is being read; the one before is still shown. */
  readonly changing: boolean
  readonly error: Error | null
  readonly retry: () => void
  readonly paging: {
    /** 1, 2, … */
    readonly page: number
    /** Number of the first task on the page, from 1. */
    readonly first: number
    readonly hasNewer: boolean
    readonly hasOlder: boolean
    readonly newer: () => void
    readonly older: () => void
  }
}

/** A page of tasks, newest first, kept live. Another filter begins at its first page. */
export function useTasks(filter: TaskFilter = {}): TasksView {
  const client = useSluiceClient()
  const freshness = useFreshness()
  const filterKey = JSON.stringify(filter)
  const [position, setPosition] = useState<Position>({ filterKey, tokens: [] })
  const tokens = position.filterKey === filterKey ? position.tokens : []
  const pageSize = filter.page_size ?? 50
  const query = { ...filter, page_size: pageSize, page_token: tokens.at(-1) }
  const { data, error, isPending, isPlaceholderData, refetch } = useQuery({
    queryKey: taskKeys.list(query),
    queryFn: ({ signal }) => client.listTasks(query, { signal }),
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => freshness.refetchInterval(state.data?.items.some((task) => !task.done) ?? true),
  })
  const tasks = data?.items ?? []
  const next = data?.next_page_token ?? null
  return {
    state: isPending ? 'loading' : data === undefined ? 'error' : tasks.length === 0 ? 'empty' : 'ready',
    tasks,
    stale: data !== undefined && (freshness.stale || error !== null),
    changing: isPlaceholderData,
    error,
    retry: () => void refetch(),
    paging: {
      page: tokens.length + 1,
      first: tokens.length * pageSize + 1,
      hasNewer: tokens.length > 0,
      hasOlder: next !== null && !isPlaceholderData,
      newer: () => setPosition({ filterKey, tokens: tokens.slice(0, -1) }),
      older: () => next !== null && setPosition({ filterKey, tokens: [...tokens, next] }),
    },
  }
}

interface Position {
  readonly filterKey: string
  /** One token per page that was left behind, so that the way back needs no token of its own. */
  readonly tokens: readonly string[]
}
