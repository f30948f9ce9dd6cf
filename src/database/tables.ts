import type { ColumnType, Generated } from 'kysely'
import type { Role } from '../contract/identity.ts'
import type { ResourceState } from '../contract/resource.ts'
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
  queue_key: string | null
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
  fair_tag: BigInteger
  job_priority: number
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
  traceparent: string | null
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
  state: ResourceState
  drift: Generated<'changed' | 'deleted' | null>
  conditions: Json<readonly Record<string, unknown>[]>
  details: Json<Readonly<Record<string, unknown>>> | null
  task_id: string
  updated_at: Generated<Date>
}

export interface WorkersTable {
  worker_id: string
  role: 'all' | 'api' | 'worker'
  version: string
  slots: number
  host: string
  pid: number
  operations: string[]
  running: number
  clock_skew_ms: number
  started_at: Generated<Date>
  heartbeat_at: Generated<Date>
}

/** An empty `tenant_id` or `operation` stands for every one. */
export interface PausesTable {
  tenant_id: string
  operation: string
  paused_by: string
  reason: string | null
  paused_at: Generated<Date>
}

/** An empty `tenant_id` stands for the platform: the limit counts every tenant's tasks. */
export interface LimitsTable {
  tenant_id: string
  scope: 'tenant' | 'cluster' | 'operation'
  key: string
  max_running: number | null
  per_minute: number | null
  burst: number
  tokens: Generated<number>
  refilled_at: Generated<Date>
  set_by: string
  hold_key: ColumnType<string, never, never>
}

export interface ClusterHealthTable {
  cluster: string
  failures: number
  open_until: Date | null
  last_error: string | null
  updated_at: Generated<Date>
}

export interface HoldsTable {
  task_id: string
  tenant_id: string
  class: 'short' | 'long'
  reason: 'paused' | 'limit' | 'rate' | 'cluster' | 'batch'
  scope: string
  key: string
  job_priority: number
  promised: boolean
  until: Date | null
  woken_at: Date | null
  held_at: Generated<Date>
}

export interface BatchesTable {
  batch_id: string
  tenant_id: string
  requested_by: string
  on_error: 'continue' | 'stop'
  concurrency: number | null
  total: number
  counts: Json<Partial<Record<TaskStatus, number>>>
  stopping: Generated<boolean>
  retry_of: string | null
  created_at: Generated<Date>
  completed_at: Date | null
}

export interface SchedulesTable {
  schedule_id: string
  tenant_id: string
  name: string
  operation: string
  input: Json<Record<string, unknown>>
  options: Json<Record<string, unknown>>
  cron: string
  time_zone: string
  start_at: Date | null
  paused: Generated<boolean>
  missed: 'skip' | 'run_once'
  overlap: 'skip' | 'allow'
  owner: string
  /** Who else had the token in hand that its owner wrote it with. */
  made_by: Generated<string[]>
  next_run_at: Date | null
  last_run_at: Date | null
  last_task_id: string | null
  last_outcome: string | null
  created_at: Generated<Date>
}

export interface StoredResultsTable {
  task_id: string
  attempt: number
  tenant_id: string
  object_key: string
  media_type: string
  bytes: BigInteger | null
  sha256: string | null
  settled: Generated<boolean>
  created_at: Generated<Date>
}

export interface EventPublishersTable {
  name: string
  cursor: BigInteger
  holder: string | null
  lease_until: Date | null
  updated_at: Generated<Date>
}

export interface LogCheckpointsTable {
  partition: string
  from_seq: BigInteger
  to_seq: BigInteger
  events: BigInteger
  digest: string
  dropped_at: Generated<Date>
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

/** Of one task, or of items of one batch: exactly one of the two is set. */
export interface TicketsTable {
  ticket_id: string
  task_id: string | null
  batch_id: string | null
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
  /** UUIDs of the tasks that a rejection names; null: all that the ticket holds. */
  items: Generated<string[] | null>
  /** Who else had the token in hand that it was given with. */
  made_by: Generated<string[]>
  dropped_at: Generated<Date | null>
  at: Generated<Date>
}

/** How a migration left each object of the schema. */
export interface CatalogueTable {
  object: string
  digest: string
}

export interface TicketItemsTable {
  task_id: string
  ticket_id: string
  tenant_id: string
  position: number
  payload_hash: string
}

/** `principal` is a group's name where the subject is a group. */
export interface RoleBindingsTable {
  tenant_id: string
  subject: Generated<'principal' | 'group'>
  principal: string
  role: Role
  environments: string[] | null
  granted_by: string
  granted_at: Generated<Date>
}

export interface ApiTokensTable {
  token_id: string
  tenant_id: string
  principal: string
  name: string
  prefix: string
  hash: Buffer
  scopes: string[] | null
  created_by: string
  /** Who has it in hand besides its principal. Null in the oldest: `created_by` alone. */
  made_by: string[] | null
  created_at: Generated<Date>
  expires_at: Date | null
  last_used_at: Date | null
  revoked_at: Date | null
  revoked_by: string | null
}

export interface SessionsTable {
  hash: Buffer
  principal: string
  token_id: string | null
  issuer: string | null
  groups: Generated<string[]>
  tenants: string[] | null
  created_at: Generated<Date>
  expires_at: Date
}

export interface OneTimeSecretsTable {
  hash: Buffer
  kind: 'code' | 'pass'
  principal: string
  token_id: string | null
  session_hash: Buffer | null
  issuer: string | null
  groups: Generated<string[]>
  tenants: string[] | null
  proof_until: Date | null
  expires_at: Date
}

export interface ClustersTable {
  tenant_id: string
  name: string
  server: string
  authentication: 'token' | 'client_certificate'
  sealed_credentials: string | null
  base_paths: Generated<string[]>
  revision: Generated<string>
  created_by: string
  created_at: Generated<Date>
  changed_by: string | null
  changed_at: Date | null
  removed_by: string | null
  removed_at: Date | null
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
  ticket_items: TicketItemsTable
  catalogue: CatalogueTable
  workers: WorkersTable
  pauses: PausesTable
  limits: LimitsTable
  cluster_health: ClusterHealthTable
  holds: HoldsTable
  batches: BatchesTable
  schedules: SchedulesTable
  stored_results: StoredResultsTable
  event_publishers: EventPublishersTable
  log_checkpoints: LogCheckpointsTable
  role_bindings: RoleBindingsTable
  api_tokens: ApiTokensTable
  sessions: SessionsTable
  one_time_secrets: OneTimeSecretsTable
  clusters: ClustersTable
}
