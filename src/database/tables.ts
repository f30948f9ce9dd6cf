import type { ColumnType, Generated } from 'kysely'
import type { TaskStatus } from '../contract/task-status.ts'

type Json<T> = ColumnType<T, string, string>
/** PostgreSQL's bigint, which JavaScript's number cannot hold: kept as a decimal string. */
type BigInteger = ColumnType<string, string, string>

export interface DomainEventsTable {
  seq: Generated<string>
  event_id: Generated<string>
  task_id: string | null
  tenant_id: string
  type: string
  operation: Generated<string | null>
  target: Generated<string | null>
  actor: string
  payload: Json<Record<string, unknown>>
  at: Generated<Date>
}

export interface TasksTable {
  task_id: string
  tenant_id: string
  operation: string
  class: 'short' | 'long'
  status: TaskStatus
  done: boolean
  target: string | null
  cluster: string | null
  unique_key: string | null
  active_key: string | null
  active_target: string | null
  input_hash: string
  request_event_id: string
  requested_by: string
  joined_by: string[]
  labels: Json<Record<string, string>>
  batch_id: string | null
  retry_of: string | null
  schedule_id: string | null
  ticket_id: string | null
  priority: number
  timeout_ms: number
  max_attempts: number
  attempt: number
  claim: number
  park: number
  progress: Json<{ done: number | null; total: number | null; message: string | null }> | null
  waiting_for: Json<WaitingFor> | null
  result: Json<Record<string, unknown>> | null
  error: Json<Record<string, unknown>> | null
  dead_lettered: boolean
  cancel_requested_by: string | null
  handed_back: number
  start_at: Date | null
  created_at: Date
  started_at: Date | null
  deadline_at: Date | null
  next_attempt_at: Date | null
  completed_at: Date | null
  last_seq: BigInteger
}

export interface WaitingFor {
  readonly cluster: string
  readonly kind: string
  readonly namespace: string | null
  readonly name: string
  readonly reason: string | null
}

export interface IdempotencyKeysTable {
  tenant_id: string
  principal: string
  key: string
  request_hash: string
  task_id: string
  status: TaskStatus
  deduplicated: boolean
  expires_at: Date
}

export interface WaitsTable {
  task_id: string
  tenant_id: string
  attempt: number
  park: number
  event_id: string
  cluster: string
  api_version: string
  kind: string
  namespace: string | null
  name: string
  base_path: Generated<string>
  uid: string | null
  generation: BigInteger | null
  resource_version: string | null
  rules: Json<Record<string, unknown>>
  deadline_at: Date
  created_at: Generated<Date>
}

export interface ResourcesTable {
  tenant_id: string
  cluster: string
  api_version: string
  kind: string
  namespace: string
  name: string
  uid: string | null
  target: string
  base_path: Generated<string>
  generation: BigInteger | null
  state: 'present' | 'deleted'
  drift: Generated<'changed' | 'deleted' | null>
  conditions: Json<readonly Record<string, unknown>[]>
  task_id: string
  updated_at: Generated<Date>
}

export interface LegalMovesTable {
  type: string
  from_status: TaskStatus
  to_status: TaskStatus
  role: string
}

export interface PoliciesTable {
  version: Generated<number>
  digest: string
  source: string
  loaded_by: string
  loaded_at: Generated<Date>
}

export type TicketState = 'open' | 'approved' | 'rejected' | 'withdrawn' | 'expired' | 'cancelled'

export interface TicketsTable {
  ticket_id: string
  task_id: string
  tenant_id: string
  state: Generated<TicketState>
  rule: string
  rule_digest: string
  policy_version: number
  environment: string
  payload_hash: string
  stages: Json<readonly { name: string; quorum: number; roles: readonly string[]; groups: readonly string[] }[]>
  stage: Generated<number>
  requested_by: string
  opened_at: Generated<Date>
  expires_at: Date
  closed_at: Date | null
  closed_by: string | null
}

export interface DecisionsTable {
  decision_id: Generated<string>
  ticket_id: string
  tenant_id: string
  stage: number
  decision: 'approve' | 'reject'
  principal: string
  comment: string | null
  payload_hash: string
  rule_digest: string
  diff_digest: string | null
  dropped_at: Generated<Date | null>
  at: Generated<Date>
}

/** Every table of the schema `sluice`; `tables.test.ts` compares it with the database's catalogue. */
export interface Tables {
  domain_events: DomainEventsTable
  tasks: TasksTable
  idempotency_keys: IdempotencyKeysTable
  waits: WaitsTable
  resources: ResourcesTable
  legal_moves: LegalMovesTable
  policies: PoliciesTable
  tickets: TicketsTable
  decisions: DecisionsTable
}
