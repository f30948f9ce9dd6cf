import type { QueryClient } from '@tanstack/react-query'
import type { LiveConnection, LiveState } from '../client/index.ts'
import type { TaskEvent } from '../contract/event.ts'
import type { Task, TaskPage } from '../contract/task.ts'
import { inboxKeys, taskKeys, ticketKeys } from './query-keys.ts'
import { createRefresher } from './refresher.ts'

/** Keeps the query cache in step with the server while it runs. The only place where live events are applied. */
export interface LiveUpdates {
  readonly state: LiveState
  /** Calls back when `state` changes; the returned function ends that. */
  readonly subscribe: (listener: () => void) => () => void
  /** Connects. After a `stop` it may be called again. */
  start(): void
  /** Closes the connection and stops refreshing; idempotent. */
  stop(): void
}

export interface LiveUpdatesOptions {
  readonly connect: () => LiveConnection
  readonly queryClient: QueryClient
  /** Milliseconds between two readings of the lists. @default 1000 */
  readonly listIntervalMs?: number | undefined
  /** Milliseconds between two readings of the tasks in view. @default 250 */
  readonly detailIntervalMs?: number | undefined
}

export function createLiveUpdates(options: LiveUpdatesOptions): LiveUpdates {
  const listeners = new Set<() => void>()
  let live: LiveConnection | null = null
  let state: LiveState = 'connecting'
  let end = () => {}
  const setState = (next: LiveState) => {
    state = next
    for (const listener of listeners) listener()
  }
  return {
    get state() {
      return state
    },
    subscribe: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    start: () => {
      if (live !== null) return
      live = options.connect()
      setState(live.state)
      live.onStateChange(setState)
      end = applyEvents(live, options)
    },
    stop: () => {
      if (live === null) return
      live.stop()
      live = null
      end()
    },
  }
}

/**
 * An event says that a task moved, and the task as the server shows it (why it waits, its result) is then read again:
 * no second copy of the projection's rules. The timeline is the events themselves, so there they are appended.
 */
function applyEvents(live: LiveConnection, options: LiveUpdatesOptions): () => void {
  const { queryClient } = options
  const moved = new Set<string>()
  // Timelines whose reading was under way when an event came: its answer may be from before the event.
  const behind = new Set<string>()
  const lists = createRefresher({
    intervalMs: options.listIntervalMs ?? 1000,
    refresh: () => queryClient.invalidateQueries({ queryKey: taskKeys.lists }),
  })
  const details = createRefresher({
    intervalMs: options.detailIntervalMs ?? 250,
    refresh: async () => {
      const keys = [...[...moved].map(taskKeys.detail), ...[...behind].map(taskKeys.timeline)]
      const ids = [...moved]
      moved.clear()
      behind.clear()
      await Promise.all(keys.map((queryKey) => queryClient.invalidateQueries({ queryKey })))
      for (const id of ids) showInLists(queryClient, id)
    },
  })
  const tickets = createRefresher({
    intervalMs: options.listIntervalMs ?? 1000,
    refresh: () => queryClient.invalidateQueries({ queryKey: ticketKeys.all }),
  })
  const readAgain = () => {
    for (const { all: queryKey } of [taskKeys, ticketKeys, inboxKeys]) void queryClient.invalidateQueries({ queryKey })
  }
  live.subscribe({
    to: { kind: 'tasks' },
    onEvent: (event) => {
      lists.request()
      if (ticketEvents.has(event.type)) tickets.request()
      if (event.task_id === null || !isCached(queryClient, event.task_id)) return
      moved.add(event.task_id)
      if (isReading(queryClient, event.task_id)) behind.add(event.task_id)
      if (!behind.has(event.task_id)) appendToTimeline(queryClient, event.task_id, event)
      details.request()
    },
    // What was read before the subscription stood may have missed an event in between.
    onReady: readAgain,
    onReset: readAgain,
  })
  const inbox = createRefresher({
    intervalMs: options.listIntervalMs ?? 1000,
    // An approval that is not the last one moves no task, and is heard of here.
    refresh: async () => {
      await queryClient.invalidateQueries({ queryKey: inboxKeys.all })
      tickets.request()
    },
  })
  live.subscribe({ to: { kind: 'notifications' }, onEvent: inbox.request })
  return () => {
    inbox.stop()
    lists.stop()
    details.stop()
    tickets.stop()
  }
}

/** What may open or close a ticket. */
const ticketEvents: ReadonlySet<string> = new Set([
  'task.requested',
  'task.joined',
  'task.approved',
  'task.rejected',
  'task.expired',
  'task.cancelled',
])

/** What was just read of one task stands in its row, too: the page does not show it in two states at once. */
function showInLists(queryClient: QueryClient, taskId: string): void {
  const detail = queryClient.getQueryState<Task>(taskKeys.detail(taskId))
  const task = detail?.data
  // Nobody looks at it, so it was not read again; or reading failed.
  if (task === undefined || detail?.isInvalidated === true) return
  queryClient.setQueriesData<TaskPage>({ queryKey: taskKeys.lists }, (page) => {
    if (!page?.items.some((item) => item.task_id === taskId)) return undefined
    return { ...page, items: page.items.map((item) => (item.task_id === taskId ? task : item)) }
  })
}

function isCached(queryClient: QueryClient, taskId: string): boolean {
  const cache = queryClient.getQueryCache()
  return [taskKeys.detail(taskId), taskKeys.timeline(taskId)].some((queryKey) => cache.find({ queryKey }) !== undefined)
}

function isReading(queryClient: QueryClient, taskId: string): boolean {
  return queryClient.isFetching({ queryKey: taskKeys.timeline(taskId), exact: true }) > 0
}

function appendToTimeline(queryClient: QueryClient, taskId: string, event: TaskEvent): void {
  const queryKey = taskKeys.timeline(taskId)
  queryClient.setQueryData<TaskEvent[]>(queryKey, (events) => {
    const last = events?.at(-1)
    if (last === undefined || BigInt(last.seq) >= BigInt(event.seq)) return events
    return [...(events ?? []), event]
  })
}
