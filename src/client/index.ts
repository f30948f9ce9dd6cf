export { createClient } from './create-client.ts'
export type { ClientOptions, RequestOptions, SluiceClient, SubmitOptions } from './create-client.ts'
export type { LiveConnection, LiveSubscribeOptions, LiveSubscription } from './live-connection.ts'
export type { VerifiedAudit, VerifyAuditOptions } from './audit-calls.ts'
export type { WebhookWithSecret } from './webhook-calls.ts'
export type { WaitForTaskOptions } from './wait-for-task.ts'
export type { WatchTaskOptions } from './watch-task.ts'
export type { InboxFilter } from './inbox-calls.ts'
export { isPassing, SluiceProblem, UnreachableError } from './sluice-problem.ts'
export type { Backoff } from './pause.ts'
export { fieldErrors, type FieldError } from './field-errors.ts'
export { ageOf, duration, localTime, localTimes, progressText, shortTarget } from './task-text.ts'
export type { LiveSocket, LiveState } from './reconnecting-socket.ts'
export { createLiveHub } from './live-hub.ts'
export {
  type KindWaitOptions,
  NotReadyError,
  type ReadyWaitOptions,
  waitForDeleted,
  waitForDnsZoneReady,
  waitForProjectReady,
  waitForReady,
  waitForVirtualMachineReady,
  type WaitHub,
} from '../kubernetes/wait-for-ready.ts'
export {
  continueWaiting,
  rejectWith,
  resolveWith,
  waitForWatch,
  type WatchDecision,
  type WatchSubscription,
  WatchTimeoutError,
  type WatchWaitOptions,
} from '../kubernetes/wait-for-watch.ts'
