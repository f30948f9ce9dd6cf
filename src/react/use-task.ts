import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { SluiceProblem } from '../client/index.ts'
import type { TaskEvent } from '../contract/event.ts'
import type { Accepted, Task } from '../contract/task.ts'
import { taskKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'
import { useFreshness } from './use-freshness.ts'

export interface TaskView {
  /** `missing`: there is no such task, or it is not yours to see. */
  readonly state: 'loading' | 'error' | 'missing' | 'ready'
  readonly task: Task | null
  /** The timeline so far, oldest first; empty while it loads. */
  readonly events: readonly TaskEvent[]
  readonly stale: boolean
  readonly error: Error | null
  readonly retry: () => void
}

/** One task with its timeline, kept live. */
export function useTask(taskId: string): TaskView {
  const client = useSluiceClient()
  const freshness = useFreshness()
  const task = useQuery({
    queryKey: taskKeys.detail(taskId),
    queryFn: ({ signal }) => client.getTask(taskId, { signal }),
    refetchInterval: ({ state }) => freshness.refetchInterval(state.data?.done !== true),
  })
  const timeline = useQuery({
    queryKey: taskKeys.timeline(taskId),
    queryFn: ({ signal }) => client.taskEvents(taskId, { signal }),
    refetchInterval: () => freshness.refetchInterval(false),
  })
  const error = task.error ?? timeline.error
  const missing = task.error instanceof SluiceProblem && (task.error.status === 404 || task.error.status === 410)
  const state = missing ? 'missing' : task.isPending ? 'loading' : task.data === undefined ? 'error' : 'ready'
  return {
    state,
    task: task.data ?? null,
    events: timeline.data ?? [],
    stale: state === 'ready' && (freshness.stale || error !== null),
    error,
    retry: () => {
      void task.refetch()
      void timeline.refetch()
    },
  }
}

export interface CancelView {
  readonly state: 'idle' | 'sending' | 'accepted' | 'refused'
  /** What the server said: what cannot be undone. */
  readonly message: string | null
  readonly error: Error | null
  readonly cancel: () => void
}

/** Cancels one task. */
export function useCancelTask(taskId: string): CancelView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const { status, data, error, mutate } = useMutation({
    mutationFn: () => client.cancelTask(taskId),
    // The live event does the same; this is for when there is no live connection.
    onSettled: () => queryClient.invalidateQueries({ queryKey: taskKeys.all }),
  })
  return { state: mutationStates[status], message: data?.message ?? null, error, cancel: () => mutate() }
}

export interface RetryView {
  readonly state: 'idle' | 'sending' | 'accepted' | 'refused'
  /** The new task. */
  readonly accepted: Accepted | null
  readonly error: Error | null
  readonly retry: () => void
}

/** Asks again for what one ended task was to do: a new task, gated by policy like any other. */
export function useRetryTask(taskId: string): RetryView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const { status, data, error, mutate } = useMutation({
    mutationFn: () => client.retryTask(taskId),
    // The live event does the same; this is for when there is no live connection.
    onSuccess: () => void queryClient.invalidateQueries({ queryKey: taskKeys.lists }),
  })
  return { state: mutationStates[status], accepted: data ?? null, error, retry: () => mutate() }
}

export const mutationStates = { idle: 'idle', pending: 'sending', success: 'accepted', error: 'refused' } as const
