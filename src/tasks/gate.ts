import { actionOf, type Placement, type Policy, type PolicyFacts, type Verdict } from '../approvals/policy.ts'
import type { ActivePolicy } from '../approvals/policy-store.ts'
import type { Database, Transaction } from '../database/database.ts'
import { environmentsOf, mayIn, rolesIn, type Standing } from '../identity/standing.ts'
import type { Operation } from '../operations/define-operation.ts'
import type { AcceptRequest } from './accept-task.ts'
import type { AcceptRow, Quota, RequestPayload } from './accept-tasks.sql.ts'
import { nameRequest, type Places } from './places.ts'
import { takeSecrets } from './secret-input.ts'
import { type FoundPlacement, readPlacements } from './target-placements.sql.ts'

export interface GatedRequest {
  readonly request: AcceptRequest
  readonly row: AcceptRow
}

export interface JudgedRow {
  readonly row: AcceptRow
  /** Why it is refused, where it is. */
  readonly reason?: string
  /** Whether no role of the requester's holds there: whatever the policy says. */
  readonly forbidden?: boolean
}

/** The policy at the door: says what becomes of each request of a group, in the transaction that accepts it. */
export interface Gate {
  judge(tx: Transaction, group: readonly GatedRequest[]): Promise<JudgedRow[]>
  active(): ActivePolicy
}

export interface GateOptions {
  active(): ActivePolicy
  /** For conditions on time. @default the clock of this machine */
  readonly now?: () => Date
}

export function createGate(options: GateOptions): Gate {
  const now = options.now ?? (() => new Date())
  return {
    active: options.active,
    judge: async (tx, group) => {
      const placements = await readPlacements(
        tx,
        group.map(({ row }) => row),
      )
      const active = options.active()
      return group.map((one, i) => judgeOne(active, one, { found: placements.get(i), now: now() }))
    },
  }
}

function judgeOne(
  { policy, version }: ActivePolicy,
  { request, row }: GatedRequest,
  { found, now }: { found: FoundPlacement | undefined; now: Date },
): JudgedRow {
  const { operation, input } = request
  const { placement, environment } = locate(policy, operation, { input, target: row.target, found })
  const standing = { ...request, roles: request.roles ?? [] }
  const requester = {
    roles: rolesIn(standing, environment),
    groups: request.groups ?? [],
    ...(request.madeBy !== undefined && { made_by: request.madeBy }),
  }
  const facts = toFacts(
    { operation: operation.type, tenant: row.tenant, actor: row.actor, now, environment },
    { ...row.payload, requester },
    row.target !== null,
  )
  const verdict = policy.evaluate(facts)
  const quotas = quotasOf(policy, row)
  const payload = { ...row.payload, placement, environment, requester, ...(quotas.length > 0 && { quotas }) }
  const outside = outsideProblem(row.actor, standing, environment)
  if (outside !== undefined) {
    return { row: { ...row, payload: { ...payload, refused: 'denied' } }, reason: outside, forbidden: true }
  }
  if (verdict.outcome === 'deny') {
    return { row: { ...row, payload: { ...payload, refused: 'denied' } }, reason: verdict.reason }
  }
  const unconfirmed = confirmationProblem(policy, { request, row, environment })
  if (unconfirmed !== undefined) {
    return { row: { ...row, payload: { ...payload, refused: 'unconfirmed' } }, reason: unconfirmed }
  }
  if (verdict.outcome === 'allow') return { row: { ...row, payload } }
  return { row: { ...row, payload: { ...payload, ...withTicket(row, { verdict, policy, version, request }) } } }
}

/** Why nothing may be asked for there, where a role does not hold there. */
function outsideProblem(name: string, standing: Standing, environment: string): string | undefined {
  if (mayIn(standing, 'tasks.request', environment)) return undefined
  const there = environmentsOf(standing, 'tasks.request') ?? []
  return `${name} may ask for changes in ${there.join(', ') || 'no environment'} only, and this one is in ${environment}.`
}

function quotasOf(policy: Policy, { tenant, operation }: AcceptRow): Quota[] {
  return policy.quotas
    .filter(
      ({ tenants, operations }) => tenants?.includes(tenant) !== false && operations?.includes(operation) !== false,
    )
    .map(({ name, active_tasks: max, operations }) => ({ name, max, ...(operations && { operations }) }))
}

/** Which quotas a request was over, or might have been: `vms (10 active tasks)`. */
export function describeQuotas(quotas: readonly Quota[]): string {
  return quotas.map(({ name, max }) => `${name} (${max} active tasks)`).join(', ')
}

interface TicketSource {
  readonly verdict: Extract<Verdict, { outcome: 'approval' }>
  readonly policy: Policy
  readonly version: number
  readonly request: AcceptRequest
}

function withTicket(row: AcceptRow, { verdict, policy, version, request }: TicketSource): Partial<RequestPayload> {
  return {
    status: 'AWAITING_APPROVAL',
    // Kept although it lies in the future: the approval schedules the task.
    start_at: request.options.start_at ?? null,
    // The ticket of one task has the task's UUID: a replayed answer can name it without a look.
    ticket_id: row.task_id,
    ticket: {
      rule: verdict.rule,
      rule_digest: verdict.ruleDigest,
      policy_version: version,
      payload_hash: row.request_hash,
      options: request.options,
      stages: verdict.stages,
      expires_in_ms: verdict.expiresInMs,
      limit_per_requester: policy.limits.open_tickets_per_requester,
      limit_per_tenant: policy.limits.open_tickets_per_tenant,
    },
  }
}

export interface AskedRequest {
  readonly operation: Operation
  readonly input: unknown
  readonly tenant: string
  readonly person: Standing & { readonly name: string }
  readonly places: Places
}

interface Explained {
  readonly verdict: Verdict
  readonly environment: string
  /** Why the person may not even ask, where no role of theirs holds there. */
  readonly outside: string | undefined
}

/** What the policy would make of a request, without asking for it. */
export async function explainRequest(
  database: Database,
  { policy }: ActivePolicy,
  { operation, input, tenant, person, places }: AskedRequest,
): Promise<Explained> {
  const { target } = nameRequest({ operation, input, tenant }, places)
  const placements = await database.transaction({ role: 'sluice_api', tenant }, (tx) =>
    readPlacements(tx, [{ tenant, target }]),
  )
  const { environment } = locate(policy, operation, { input, target, found: placements.get(0) })
  const requester = { roles: rolesIn(person, environment), groups: person.groups ?? [] }
  const source = { operation: operation.type, tenant, actor: person.name, environment, now: new Date() }
  // As it will be kept: no condition looks at a secret.
  const { shown } = takeSecrets(operation, input)
  const asked = { input: shown, cluster: operation.cluster?.(input) ?? null, requester }
  return {
    verdict: policy.evaluate(toFacts(source, asked, target !== null)),
    environment,
    outside: outsideProblem(person.name, person, environment),
  }
}

interface Located {
  readonly placement: Placement | null
  readonly environment: string
}

/**
 * Where a change happens. What is made goes where configuration puts it; what exists is where its record says,
 * whatever the request says; where neither is known the strictest environment's rules hold.
 */
function locate(
  policy: Policy,
  operation: Operation,
  { input, target, found }: { input: unknown; target: string | null; found: FoundPlacement | undefined },
): Located {
  const asked: Placement = {
    cluster: operation.cluster?.(input) ?? null,
    namespace: target === null ? null : namespaceOf(target),
    organization: operation.organization?.(input) ?? null,
  }
  const action = actionOf(operation.type, target !== null)
  if (found) {
    const recorded = policy.environmentOf(found.placement ?? undefined)
    if (action !== 'create' || recorded === policy.environmentOf(asked)) {
      return { placement: found.placement, environment: recorded }
    }
    return { placement: null, environment: policy.environmentOf(undefined) }
  }
  if (action === 'create' || action === 'run') return { placement: asked, environment: policy.environmentOf(asked) }
  return { placement: null, environment: policy.environmentOf(undefined) }
}

function namespaceOf(target: string): string | null {
  const namespace = target.slice(target.indexOf(':') + 1).split('/')[2]
  return namespace === undefined || namespace === '' ? null : namespace
}

interface FactSource {
  readonly operation: string
  readonly tenant: string
  readonly actor: string
  readonly environment: string
  readonly now: Date
}

/** What the policy is asked about a request: from its payload, so that it can be asked again later. */
export function toFacts(
  { operation, tenant, actor, environment, now }: FactSource,
  payload: Pick<RequestPayload, 'input' | 'cluster' | 'requester'>,
  hasTarget: boolean,
): PolicyFacts {
  const { roles = [], groups = [] } = payload.requester ?? {}
  return {
    operation,
    action: actionOf(operation, hasTarget),
    input: payload.input,
    requester: { name: actor, roles, groups },
    tenant,
    environment,
    cluster: payload.cluster,
    now,
  }
}

// Who deletes in the strictest environment types the name again. A retry was confirmed the first time.
function confirmationProblem(
  policy: Policy,
  { request, row, environment }: { request: AcceptRequest; row: AcceptRow; environment: string },
): string | undefined {
  const asks =
    actionOf(request.operation.type, row.target !== null) === 'delete' &&
    environment === policy.strictestEnvironment &&
    request.retryOf === undefined
  if (!asks || row.target === null) return undefined
  const name = row.target.slice(row.target.lastIndexOf('/') + 1)
  if (request.options.confirm_name === name) return undefined
  return `Deleting in ${environment} needs the name once more: send "task": { "confirm_name": "${name}" }.`
}
