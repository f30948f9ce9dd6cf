import type { Placement, Stage } from '../approvals/policy.ts'
import type { TaskOptions } from '../contract/task.ts'
import type { TaskStatus } from '../contract/task-status.ts'
import { queryPrepared, type Transaction } from '../database/database.ts'
import type { RequestSource } from '../database/request-source.ts'
import type { FlagValue } from '../platform/feature-flags.ts'

/** One request as `accept_tasks` takes it (migration 0030). */
export interface AcceptRow {
  readonly idx: number
  readonly task_id: string
  readonly event_id: string
  readonly tenant: string
  readonly actor: string
  readonly operation: string
  readonly target: string | null
  readonly idempotency_key: string | null
  readonly request_hash: string
  readonly payload: RequestPayload
}

/** What a `task.requested` event holds: the whole request, so that the projection can be made again from the log. */
export interface RequestPayload {
  readonly input: unknown
  readonly input_hash: string
  readonly class: 'short' | 'long'
  readonly status: TaskStatus
  readonly cluster: string | null
  readonly unique_key: string | null
  readonly labels: Record<string, string>
  readonly priority: number
  readonly timeout_ms: number
  readonly max_attempts: number
  readonly start_at: string | null
  readonly retry_of: string | null
  readonly batch_id: string | null
  readonly schedule_id: string | null
  /** Where it came from: for the audit alone. */
  readonly source?: RequestSource
  /** W3C trace context of the request: what becomes of the task continues it. */
  readonly traceparent?: string
  /** The operation's flags as they were when it was accepted. */
  readonly flags?: Readonly<Record<string, FlagValue>>
  /** Where the target is, as far as anybody knows: later changes of it are judged by this. */
  readonly placement?: Placement | null
  readonly environment?: string
  readonly requester?: {
    readonly roles: readonly string[]
    readonly groups: readonly string[]
    /** Who asked by the actor's name, with a token that they made for it. */
    readonly made_by?: readonly string[]
  }
  /** Why it cannot be accepted: `accept_tasks` writes nothing and answers so, unless the key was used before. */
  readonly refused?: 'denied' | 'unconfirmed'
  /** Quotas of the tenant that the task counts in, until it has ended. */
  readonly quotas?: readonly Quota[]
  readonly ticket_id?: string
  readonly ticket?: NewTicket
  /** Of an item of a batch that shares its ticket with others. */
  readonly item?: { readonly payload_hash: string; readonly options: TaskOptions }
}

/** How many tasks of these operations (of any, without them) a tenant may have at once. */
export interface Quota {
  readonly name: string
  readonly max: number
  readonly operations?: readonly string[]
}

/** The ticket that opens with the request. */
export interface NewTicket {
  readonly rule: string
  readonly rule_digest: string
  readonly policy_version: number
  readonly payload_hash: string
  readonly options: TaskOptions
  readonly stages: readonly Stage[]
  readonly expires_in_ms: number
  readonly limit_per_requester: number
  readonly limit_per_tenant: number
}

export interface AcceptOutcome {
  readonly idx: number
  readonly outcome:
    | 'accepted'
    | 'joined'
    | 'replayed'
    | 'key_reused'
    | 'conflict'
    | 'denied'
    | 'unconfirmed'
    | 'tickets_of_requester'
    | 'tickets_of_tenant'
    | 'over_quota'
  readonly task_id: string
  readonly status: TaskStatus
  readonly deduplicated: boolean
  /** The engine's priority, in the fair order of the tenants; of an accepted one. */
  readonly job_priority: number | null
}

export async function acceptTasks(tx: Transaction, rows: readonly AcceptRow[]): Promise<AcceptOutcome[]> {
  const { rows: outcomes } = await queryPrepared<AcceptOutcome>(tx, 'select * from sluice.accept_tasks($1::jsonb)', [
    JSON.stringify(rows),
  ])
  return outcomes
}
