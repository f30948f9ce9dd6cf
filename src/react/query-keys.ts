import type { TicketFilter } from '../contract/approval.ts'
import type { InboxFilter } from '../client/index.ts'
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

/** Where approval requests live. */
export const ticketKeys = {
  all: ['sluice', 'tickets'],
  list: (filter: TicketFilter) => ['sluice', 'tickets', 'list', filter],
  detail: (ticketId: string) => ['sluice', 'tickets', 'detail', ticketId],
  items: (ticketId: string) => ['sluice', 'tickets', 'items', ticketId],
} as const

/** Where the caller's inbox lives. */
export const inboxKeys = {
  all: ['sluice', 'inbox'],
  list: (filter: InboxFilter) => ['sluice', 'inbox', 'list', filter],
  unread: ['sluice', 'inbox', 'unread'],
  muted: ['sluice', 'inbox', 'muted'],
} as const

/** Who is signed in, and how one may be. */
export const sessionKeys = { me: ['sluice', 'session', 'me'], options: ['sluice', 'session', 'options'] } as const
