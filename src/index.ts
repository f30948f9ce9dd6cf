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
export { migrate } from './queue/migrate.ts'
