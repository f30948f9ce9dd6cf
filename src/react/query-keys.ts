import type { TaskFilter } from '../contract/task-list.ts'

/** Where tasks live in the query cache. Whatever reads, changes or invalidates them takes its key from here. */
export const taskKeys = {
  all: ['sluice', 'tasks'],
  lists: ['sluice', 'tasks', 'list'],
  list: (filter: TaskFilter) => ['sluice', 'tasks', 'list', filter],
  details: ['sluice', 'tasks', 'detail'],
  detail: (taskId: string) => ['sluice', 'tasks', 'detail', taskId],
  timelines: ['sluice', 'tasks', 'timeline'],
  timeline: (taskId: string) => ['sluice', 'tasks', 'timeline', taskId],
} as const

/** Who is signed in. */
export const sessionKeys = { me: ['sluice', 'session', 'me'] } as const
