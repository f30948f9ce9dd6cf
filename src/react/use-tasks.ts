import { keepPreviousData, useQuery } from '@tanstack/react-query'
import type { TaskFilter } from '../contract/task-list.ts'
import type { Task } from '../contract/task.ts'
import { taskKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'
import { useFreshness } from './use-freshness.ts'
import { usePages, type Paging } from './use-pages.ts'

/** What every list says of itself. */
export interface ListView {
  /** `empty`: there is no such entry (yet). `error`: nothing to show; with something to show it is `stale` instead. */
  readonly state: 'loading' | 'error' | 'empty' | 'ready'
  /** What is shown may be out of date: the live connection is gone, or the last reading failed. */
  readonly stale: boolean
  /** Another page or filter is being read; the one before is still shown. */
  readonly changing: boolean
  readonly error: Error | null
  readonly retry: () => void
  readonly paging: Paging
}

export interface TasksView extends ListView {
  readonly tasks: readonly Task[]
}

/** A page of tasks, newest first, kept live. Another filter begins at its first page. */
export function useTasks(filter: TaskFilter = {}): TasksView {
  const client = useSluiceClient()
  const freshness = useFreshness()
  const pageSize = filter.page_size ?? 50
  const { pageToken, pagingTo } = usePages(filter, pageSize)
  const query = { ...filter, page_size: pageSize, page_token: pageToken }
  const { data, error, isPending, isPlaceholderData, refetch } = useQuery({
    queryKey: taskKeys.list(query),
    queryFn: ({ signal }) => client.listTasks(query, { signal }),
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) => freshness.refetchInterval(state.data?.items.some((task) => !task.done) ?? true),
  })
  const tasks = data?.items ?? []
  return {
    state: isPending ? 'loading' : data === undefined ? 'error' : tasks.length === 0 ? 'empty' : 'ready',
    tasks,
    stale: data !== undefined && (freshness.stale || error !== null),
    changing: isPlaceholderData,
    error,
    retry: () => void refetch(),
    paging: pagingTo(data?.next_page_token ?? null, isPlaceholderData),
  }
}
