import { sql } from 'kysely'
import type { TaskStatus } from '../contract/task-status.ts'
import type { Transaction } from '../database/database.ts'

/** One request as `accept_tasks` takes it (migration 0002). */
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
}

export interface AcceptOutcome {
  readonly idx: number
  readonly outcome: 'accepted' | 'joined' | 'replayed' | 'key_reused' | 'conflict'
  readonly task_id: string
  readonly status: TaskStatus
  readonly deduplicated: boolean
}

export async function acceptTasks(tx: Transaction, rows: readonly AcceptRow[]): Promise<AcceptOutcome[]> {
  const { rows: outcomes } = await sql<AcceptOutcome>`
    select * from sluice.accept_tasks(${JSON.stringify(rows)}::jsonb)`.execute(tx)
  return outcomes
}
