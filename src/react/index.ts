export { createQueryClient, SluiceProvider, useLiveState, useSluiceClient } from './sluice-provider.tsx'
export type { SluiceProviderProps } from './sluice-provider.tsx'
export { useTasks, type ListView, type TasksView } from './use-tasks.ts'
export type { Paging } from './use-pages.ts'
export {
  useDecision,
  useTicket,
  useTicketItems,
  useTickets,
  type Decision,
  type DecisionView,
  type TicketItemsView,
  type TicketsView,
  type TicketView,
  type Verdict,
} from './use-tickets.ts'
export { useMuted, useNotifications, useUnread, type MutedView, type NotificationsView } from './use-notifications.ts'
export { TicketPanel, ticketTitle, type TicketPanelProps } from './ticket-panel.tsx'
export { useCancelTask, useRetryTask, useTask, type CancelView, type RetryView, type TaskView } from './use-task.ts'
export { useSubmit, type SubmitView } from './use-submit.ts'
export { useLoginUrl, useSession, type SessionView } from './use-session.ts'
export { inboxKeys, sessionKeys, taskKeys, ticketKeys } from './query-keys.ts'
export { TaskPanel, type TaskPanelProps } from './task-panel.tsx'
export { Elapsed, Moment, StatusBadge, TicketState } from './task-parts.tsx'
export { eventText, statusText, type EventText } from './event-text.ts'
