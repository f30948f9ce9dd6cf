import type { z } from 'zod'
import type { ResourceState } from '../contract/resource.ts'
import type { Cluster, KubernetesObject, ObjectRef } from '../kubernetes/cluster.ts'

import type { ReadinessRules } from '../kubernetes/readiness.ts'
import type { WaitHub } from '../kubernetes/wait-for-ready.ts'
import type { TargetObject } from './object-target.ts'
import type { FlagValue } from '../platform/feature-flags.ts'
import type { ObjectBody } from '../platform/object-storage.ts'

/** What an operation is: everything that Sluice knows about a kind of change comes from here. */
export interface Operation<Input = unknown> {
  /** Noun and verb, such as `vm.create`. Unique. */
  readonly type: string
  readonly title: string
  /** Where the change is asked for by its own route, below `/api/v1`; path parameters are fields of the input. */
  readonly route?: OperationRoute
  /** A strict object: a field that it does not name is an error. */
  readonly input: z.ZodObject<z.ZodRawShape> & z.ZodType<Input>
  /** short: an apply, worked in batches · long: holds a slot while it runs. */
  readonly class: 'short' | 'long'
  /** Milliseconds from first start until the task is TIMED_OUT. @default 300_000 */
  readonly timeoutMs: number
  /** What becomes of an attempt that failed and may be tried again. */
  readonly retry: RetryPolicy
  /** The feature flag that must be on for whoever asks; else the answer is 403. Pinned into the task. @default none */
  readonly flag?: string
  /** Further flags that `perform` goes by, each with its value where nobody sets it. Pinned into the task. @default none */
  readonly flags?: Readonly<Record<string, FlagValue>>
  /** Two active tasks never share it: equal input joins, other input is refused with 409. */
  uniqueKey?(input: Input): string | TargetObject
  /** The cluster it works on. */
  cluster?(input: Input): string
  /** What it changes, an object or `cluster:group/Kind/namespace/name`: two active tasks never change the same thing. */
  target?(input: Input): string | TargetObject
  /** What the schema cannot say: fields that exclude each other. Empty when the input is valid. */
  validate?(input: Input): readonly { readonly pointer: string; readonly message: string }[]
  /** The organization that owns what is made: with cluster and namespace, configuration maps it to an environment. */
  organization?(input: Input): string
  /**
   * JSON pointers of the texts in the input that are secrets: sealed apart from the log, opened for `perform` and
   * `dryRun` alone, and shown to nobody. @default none
   */
  secrets?(input: Input): readonly string[]
  /** Refuses, before acceptance, what the records already rule out. Reads only; throw `RefusedError`. */
  precheck?(input: Input, records: Records): Promise<void>
  /** May run twice: names derive from the input, "already there and mine" is success. */
  perform(context: PerformContext, input: Input): Promise<Performed>
  /** Makes the result from the object that became ready. Runs in whichever process finishes the wait. */
  finish?(object: KubernetesObject | undefined, input: Input): Record<string, unknown>
  /** What the cluster would say: changes nothing. */
  dryRun?(context: DryRunContext, input: Input): Promise<DryRun>
}

export interface RetryPolicy {
  /** Attempts before the task is FAILED and dead-lettered. @default 5 */
  readonly maxAttempts: number
  readonly backoff: Backoff
  /**
   * Milliseconds from first start in which an attempt that did not reach its target (cluster away, throttled) does not
   * count as one of `maxAttempts`. The deadline ends the task in any case. @default 180_000
   */
  readonly unavailableMs: number
}

/** Milliseconds before the next attempt: `initialMs`, then `factor` times as long each time, and up to half of it again by chance. */
export interface Backoff {
  /** @default 1_000 */
  readonly initialMs: number
  /** @default 60_000 */
  readonly maxMs: number
  /** @default 2 */
  readonly factor: number
}

export interface RetryOptions {
  readonly maxAttempts?: number
  readonly backoff?: Partial<Backoff>
  readonly unavailableMs?: number
}

export interface OperationRoute {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
}

export interface DryRunContext {
  readonly tenant: string
  readonly signal: AbortSignal
  /** The operation's flags as they were when the task was accepted, for who asked for it; in a dry run as they are now. */
  readonly flags: Readonly<Record<string, FlagValue>>
  cluster(name: string): Cluster
}

export interface PerformContext extends DryRunContext {
  /** The task's id on the wire, `task_…`. */
  readonly taskId: string
  /** The task that this one tries again, if any: what that one made is ours. */
  readonly retryOf: string | undefined
  readonly attempt: number
  /** Fires at the deadline, on cancel, on shutdown and when the attempt was lost. Its reason says which. */
  readonly signal: AbortSignal
  /**
   * For waits in the middle of `perform`: `await waitForReady({ hub, ref, signal })`. They hold the slot and end with the
   * process; a wait at the end of `perform` is better returned (`waitUntilReady`).
   */
  readonly hub: WaitHub
  /** Shows how far it is. */
  report(progress: Progress): void
  /**
   * Writes the task's record before its end: state `running`, which becomes what the task ends as. Throws
   * `TargetUnavailableError` `already_running` while another task's record of the same name runs.
   */
  startRecord(record: ResourceRecord): Promise<void>
  /** What this task has started to record, in this attempt or one before. */
  startedRecord(): Promise<ResourceRecord | undefined>
  /**
   * Stores a result of any size as a stream, and returns what to pass to `completed`. Small ones need none of this, and
   * JSON above 64 KiB is stored by itself. Nobody looks for secrets in a stream. Throws `no_object_storage` where none is configured.
   */
  storeResult(
    body: ObjectBody,
    options?: {
      /** @default 'application/json' */
      readonly mediaType?: string
    },
  ): Promise<Record<string, unknown>>
}

export interface Progress {
  readonly done?: number
  readonly total?: number
  readonly message?: string
}

export interface DryRun {
  /** What would change, line by line; empty when nothing would. */
  readonly diff: string
  readonly warnings: readonly string[]
}

/** A managed object, or an analysis, as the worker's record will show it. */
export interface ResourceRecord {
  /** Empty for what is in no cluster. */
  readonly cluster: string
  readonly ref: ObjectRef
  readonly uid?: string | undefined
  /** Of the spec that we applied: a later one is somebody else's. */
  readonly generation?: number | undefined
  /** @default '' (the server itself) */
  readonly basePath?: string | undefined
  readonly state: Exclude<ResourceState, 'failed' | 'timed_out' | 'cancelled'>
  readonly conditions: readonly Record<string, unknown>[]
  /** What was found, where the record is of that. */
  readonly details?: Readonly<Record<string, unknown>> | undefined
}

export type Performed =
  | { readonly kind: 'completed'; readonly result: Record<string, unknown>; readonly record?: ResourceRecord }
  | { readonly kind: 'waiting'; readonly wait: Wait }

/** A readiness wait that holds no slot. */
export interface Wait {
  readonly cluster: string
  readonly ref: ObjectRef
  /** Filled base path (`Cluster.basePathFor`). @default '' (the server itself) */
  readonly basePath?: string
  /** From the apply's answer: which object, and from when on its status speaks of our change. */
  readonly uid?: string | undefined
  readonly generation?: number | undefined
  readonly resourceVersion?: string | undefined
  readonly rules: ReadinessRules
}

/** Reads the worker's records, in the caller's tenant. */
export interface Records {
  find(object: TargetObject): Promise<{ readonly state: ResourceState } | undefined>
}

/** The input is well-formed and still cannot be accepted: an HTTP error, and nothing is written. */
export class RefusedError extends Error {
  readonly status: 404 | 409 | 422
  readonly code: string
  constructor(message: string, options: { readonly status: 404 | 409 | 422; readonly code: string }) {
    super(message)
    this.status = options.status
    this.code = options.code
  }
}

const defaultTimeoutMs = 300_000
const defaultBackoff: Backoff = { initialMs: 1_000, maxMs: 60_000, factor: 2 }

/** Declares an operation; types flow from the schema to `perform`. */
export function defineOperation<Schema extends z.ZodObject<z.ZodRawShape>>(
  definition: Omit<Operation<z.output<Schema>>, 'input' | 'timeoutMs' | 'retry'> & {
    readonly input: Schema
    readonly timeoutMs?: number
    readonly retry?: RetryOptions
  },
): Operation<z.output<Schema>> {
  return {
    ...definition,
    // The schema's own output type is what its ZodType promises.
    input: definition.input as Schema & z.ZodType<z.output<Schema>>,
    timeoutMs: definition.timeoutMs ?? defaultTimeoutMs,
    retry: completeRetry(definition.type, definition.retry ?? {}),
  }
}

function completeRetry(type: string, options: RetryOptions): RetryPolicy {
  const { maxAttempts = 5, unavailableMs = 180_000 } = options
  const backoff = { ...defaultBackoff, ...options.backoff }
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1 || maxAttempts > 100)
    throw new Error(`${type}: retry.maxAttempts is ${maxAttempts}; choose a whole number from 1 to 100`)
  if (!(backoff.initialMs >= 0) || !(backoff.maxMs >= backoff.initialMs) || !(backoff.factor >= 1))
    throw new Error(`${type}: retry.backoff needs 0 <= initialMs <= maxMs and factor >= 1`)
  return { maxAttempts, unavailableMs, backoff }
}

export const completed = (result: Record<string, unknown>, record?: ResourceRecord): Performed => ({
  kind: 'completed',
  result,
  ...(record && { record }),
})

/** Ends the attempt and frees the slot; the task goes on when the object is decided, or at its deadline. */
export const waitUntilReady = (wait: Wait): Performed => ({ kind: 'waiting', wait })
