/** Define operations, and embed Sluice in a program of your own. */
export { startSluice, type RunningSluice, type StartOptions } from './main.ts'
export type { OidcSettings } from './identity/oidc/oidc-settings.ts'
export {
  completed,
  defineOperation,
  type DryRun,
  type DryRunContext,
  type Operation,
  type OperationRoute,
  type PerformContext,
  type Performed,
  type Progress,
  RefusedError,
  type ResourceRecord,
  type Wait,
  waitUntilReady,
} from './operations/define-operation.ts'
export { PermanentError, TransientError } from './operations/errors.ts'
export { connectHub, type ConnectedHub } from './kubernetes/connect-hub.ts'
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
} from './kubernetes/wait-for-ready.ts'
export {
  continueWaiting,
  rejectWith,
  resolveWith,
  waitForWatch,
  type WatchDecision,
  type WatchSubscription,
  WatchTimeoutError,
  type WatchWaitOptions,
} from './kubernetes/wait-for-watch.ts'
export { migrate } from './queue/migrate.ts'
