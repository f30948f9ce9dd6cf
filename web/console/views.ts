import type { TicketFilter } from '../../src/contract/approval.ts'
import type { TaskStatus } from '../../src/contract/task-status.ts'

/** Ways to look at the list: a word, and the statuses it stands for. */
export const views = {
  all: { title: 'All', statuses: null },
  active: {
    title: 'In progress',
    statuses: ['AWAITING_APPROVAL', 'SCHEDULED', 'PENDING', 'RUNNING', 'WAITING', 'RETRYING'],
  },
  completed: { title: 'Completed', statuses: ['COMPLETED'] },
  failed: { title: 'Failed', statuses: ['FAILED', 'TIMED_OUT'] },
  stopped: { title: 'Stopped', statuses: ['CANCELLED', 'REJECTED', 'EXPIRED'] },
} as const satisfies Record<string, { title: string; statuses: readonly TaskStatus[] | null }>

export type ViewName = keyof typeof views
export const defaultView: ViewName = 'all'

/** In the order of the tabs. */
export const viewNames: readonly ViewName[] = ['all', 'active', 'completed', 'failed', 'stopped']

export function isViewName(name: string): name is ViewName {
  return Object.hasOwn(views, name)
}

/** Ways to look at approval requests. */
export const inboxes = {
  open: { title: 'To decide', filter: { state: 'open' } },
  mine: { title: 'My requests', filter: { state: 'open', mine: true } },
  approved: { title: 'Approved', filter: { state: 'approved' } },
  rejected: { title: 'Rejected', filter: { state: 'rejected' } },
} as const satisfies Record<string, { title: string; filter: TicketFilter }>

export type InboxName = keyof typeof inboxes
export const defaultInbox: InboxName = 'open'
export const inboxNames: readonly InboxName[] = ['open', 'mine', 'approved', 'rejected']

export function isInboxName(name: string): name is InboxName {
  return Object.hasOwn(inboxes, name)
}
