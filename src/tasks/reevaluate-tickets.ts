import { v7 as uuidv7 } from 'uuid'
import { deciders, type Verdict } from '../approvals/policy.ts'
import type { ActivePolicy } from '../approvals/policy-store.ts'
import { closeTicket, keepTicket, lockTicket, rebindTicket, type TicketRow } from '../approvals/ticket.sql.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Logger } from '../platform/logger.ts'
import type { Queue } from '../queue/queue.ts'
import type { RequestPayload } from './accept-tasks.sql.ts'
import { problem } from './decide-ticket.ts'
import { listStaleTickets, type StaleTicket } from './due-tickets.sql.ts'
import { toFacts } from './gate.ts'
import { releaseTasks } from './release-tasks.ts'
import type { TaskRow } from './task-view.ts'
import {
  appendToEach,
  type HeldTask,
  lockBatchTickets,
  moveItems,
  openBatchTicket,
  readHeldTasks,
  readRequests,
  readTicket,
  renewHash,
} from './ticket-items.sql.ts'
import { aboutTicket, closeOrRenew, tellOfBatch } from './ticket-rest.ts'

export interface ReevaluateOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  active(): ActivePolicy
}

const actor = 'policy'

/** Judges open tickets again while the process runs: soon after each change of the policy. */
export function createTicketUpkeep(
  options: ReevaluateOptions & { readonly logger: Logger; readonly everyMs?: number },
) {
  let underWay: Promise<unknown> | undefined
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    underWay ??= reevaluateTickets(options)
      .catch((error: unknown) => options.logger.warn('open tickets could not be judged again; trying again', { error }))
      .finally(() => {
        underWay = undefined
      })
  }
  return {
    start: (): void => {
      timer = setInterval(look, options.everyMs ?? 2_000)
    },
    stop: async (): Promise<void> => {
      clearInterval(timer)
      await underWay
    },
  }
}

/**
 * Judges open tickets that were opened, or last judged, under an older policy: same rule → kept; another rule that asks
 * → bound to it, decisions dropped; denied → REJECTED; allowed → the job is inserted. Items of a batch are judged one by
 * one, and those that meet another rule than the rest go under a ticket of that rule. Returns how many requests there were.
 */
export async function reevaluateTickets(options: ReevaluateOptions): Promise<number> {
  const { version } = options.active()
  const stale = await options.database.transaction({ role: 'sluice_feed' }, (tx) => listStaleTickets(tx, version))
  for (const one of stale) {
    const woken = await options.database.transaction({ role: 'sluice_api', tenant: one.tenant }, (tx) =>
      reevaluate(options, tx, one),
    )
    options.signals.send(...woken, 'events')
  }
  return stale.length
}

interface Judged {
  readonly ticket: TicketRow
  readonly task: HeldTask
  readonly verdict: Verdict
  readonly environment: string
}

type Asked = Judged & { readonly verdict: Extract<Verdict, { outcome: 'approval' }> }

async function reevaluate(
  options: ReevaluateOptions,
  tx: Transaction,
  { ticketId, batchId }: StaleTicket,
): Promise<readonly TaskRow['class'][]> {
  const active = options.active()
  const tickets = await lockOpen(tx, ticketId, batchId)
  if (!tickets.some(({ policy_version }) => policy_version < active.version)) return []
  const judged: Judged[] = []
  for (const ticket of tickets) {
    const held = await readHeldTasks(tx, ticket)
    const requests = await readRequests(
      tx,
      held.map(({ task_id }) => task_id),
    )
    for (const task of held) {
      const request = requests.get(task.task_id)
      if (request) judged.push({ ticket, task, ...judge(active, task, request) })
    }
  }
  const released = await endJudged(options, tx, judged)
  await bindToRules(tx, { tickets, judged, active })
  return released
}

async function lockOpen(tx: Transaction, ticketId: string, batchId: string | null): Promise<TicketRow[]> {
  if (batchId !== null) return lockBatchTickets(tx, batchId)
  const ticket = await lockTicket(tx, ticketId)
  return ticket?.state === 'open' ? [ticket] : []
}

function judge({ policy }: ActivePolicy, task: HeldTask, request: RequestPayload) {
  const environment = policy.environmentOf(request.placement ?? undefined)
  const source = {
    operation: task.operation,
    tenant: task.tenant_id,
    actor: task.requested_by,
    environment,
    now: new Date(),
  }
  return { environment, verdict: policy.evaluate(toFacts(source, request, task.target !== null)) }
}

/** What needs no decision any more: denied items end, allowed ones get their jobs. */
async function endJudged(
  options: ReevaluateOptions,
  tx: Transaction,
  judged: readonly Judged[],
): Promise<readonly TaskRow['class'][]> {
  const allowed: HeldTask[] = []
  const ended = judged.filter(({ verdict }) => verdict.outcome !== 'approval')
  // One event says one thing: those that met the same rule.
  for (const same of Map.groupBy(
    ended,
    ({ ticket, verdict }) => `${ticket.ticket_id} ${verdict.ruleDigest}`,
  ).values()) {
    const [first] = same
    if (!first) continue
    const { ticket, verdict } = first
    const tasks = same.map(({ task }) => task)
    const about = { ...aboutTicket(ticket), rule: verdict.rule, explain: verdict.explain }
    const denied = verdict.outcome === 'deny'
    const error = denied && problem('rejected', 'Rejected', `The policy denies it now: ${verdict.reason}`)
    const version = options.active().version
    await appendToEach(tx, {
      type: denied ? 'task.rejected' : 'task.approved',
      actor,
      data: {
        ticket: about.ticket,
        rule: about.rule,
        policy_version: version,
        explain: about.explain,
        ...(error && { error }),
      },
      tasks,
    })
    if (!denied) allowed.push(...tasks)
    await tellOfBatch(tx, ticket, {
      type: 'ticket.decided',
      actor,
      data: {
        ...about,
        policy_version: version,
        status: denied ? 'rejected' : 'approved',
        items: tasks.length,
        notify: [`principal:${ticket.requested_by}`],
      },
    })
  }
  return releaseTasks(tx, options.queue, allowed)
}

interface Binding {
  readonly tickets: readonly TicketRow[]
  readonly judged: readonly Judged[]
  readonly active: ActivePolicy
}

/** What still needs a decision goes under the ticket of the rule that asks for it now. */
async function bindToRules(tx: Transaction, { tickets, judged, active }: Binding): Promise<void> {
  const byRule = Map.groupBy(judged.filter(isAsked), ({ verdict }) => verdict.ruleDigest)
  const homes = new Map<TicketRow, readonly Asked[]>()
  for (const ticket of tickets) {
    const items = byRule.get(ticket.rule_digest)
    // Elsewhere others may decide: who has decided may not be one of them.
    if (items && environmentOf(items, active) === ticket.environment) homes.set(ticket, items)
  }
  const settled = new Set([...homes.keys()].map((ticket) => ticket.rule_digest))
  for (const [rule, items] of byRule) {
    if (settled.has(rule)) continue
    const bound = await bindElsewhere(tx, { items, free: tickets.filter((ticket) => !homes.has(ticket)), active })
    homes.set(bound, items)
  }
  for (const [ticket, items] of homes) await gather(tx, ticket, items)
  for (const ticket of tickets) {
    const before = judged.filter((one) => one.ticket === ticket)
    const now = homes.get(ticket)
    if (!now) await closeEmpty(tx, ticket, before)
    else if (now.length !== before.length || now.some((one) => one.ticket !== ticket)) {
      await closeOrRenew(tx, ticket, { state: 'cancelled', by: actor })
    }
    if (now) await keepTicket(tx, ticket.ticket_id, active.version)
  }
}

const isAsked = (one: Judged): one is Asked => one.verdict.outcome === 'approval'

function environmentOf(items: readonly Asked[], { policy }: ActivePolicy): string {
  const [environment = policy.strictestEnvironment, ...others] = new Set(items.map((one) => one.environment))
  return others.length === 0 ? environment : policy.strictestEnvironment
}

interface Elsewhere {
  readonly items: readonly Asked[]
  /** Tickets that no rule asks for any more, or elsewhere. */
  readonly free: readonly TicketRow[]
  readonly active: ActivePolicy
}

/** The ticket that held them is bound to the new rule, or, where it goes on for others, a new one is opened. */
async function bindElsewhere(tx: Transaction, { items, free, active }: Elsewhere): Promise<TicketRow> {
  const [first] = items
  if (!first) throw new Error('a rule asks for nothing')
  const { verdict } = first
  const { version } = active
  const environment = environmentOf(items, active)
  const standing = free.find((ticket) => items.some((one) => one.ticket === ticket))
  const from = standing ?? first.ticket
  const dropped = standing ? await rebindTicket(tx, standing.ticket_id, { verdict, version, environment }) : []
  const ticketId = standing?.ticket_id ?? uuidv7()
  if (!standing) {
    if (from.batch_id === null) throw new Error('a task has one ticket')
    const ticket = {
      ticket_id: ticketId,
      rule: verdict.rule,
      rule_digest: verdict.ruleDigest,
      policy_version: version,
      environment,
      stages: verdict.stages,
      expires_in_ms: verdict.expiresInMs,
    }
    await openBatchTicket(tx, { batchId: from.batch_id, actor: from.requested_by, ticket, items: [] })
  }
  const [stage] = verdict.stages
  const notify = [from.requested_by, ...dropped].map((name) => `principal:${name}`)
  const data = {
    ...aboutTicket({ ...from, ticket_id: ticketId, environment }),
    rule: verdict.rule,
    policy_version: version,
    explain: verdict.explain,
    ...(from.batch_id !== null && { items: items.length }),
    notify: [...notify, ...(stage ? deciders(stage) : [])],
  }
  await appendNote(tx, { type: 'ticket.changed', actor, data })
  return standing ?? readTicket(tx, ticketId)
}

/** Puts all of these under one ticket of the batch. */
async function gather(tx: Transaction, ticket: TicketRow, items: readonly Asked[]): Promise<void> {
  const strangers = items.filter((one) => one.ticket.ticket_id !== ticket.ticket_id)
  if (ticket.batch_id !== null && strangers.length > 0) {
    const tasks = strangers.map(({ task }) => task)
    await moveItems(tx, { tasks, ticketId: ticket.ticket_id })
    const data = { ...aboutTicket(ticket), ticket_id: ticket.ticket_id }
    await appendToEach(tx, { type: 'task.regated', actor, data, tasks })
    await renewHash(tx, ticket.ticket_id)
  }
}

async function closeEmpty(tx: Transaction, ticket: TicketRow, before: readonly Judged[]): Promise<void> {
  const outcomes = before.map(({ verdict }) => verdict.outcome)
  const ended = outcomes.includes('allow') ? 'approved' : 'rejected'
  // Where everything went under other tickets, nobody decided on this one.
  const state = outcomes.every((outcome) => outcome === 'approval') ? 'cancelled' : ended
  await closeTicket(tx, ticket.ticket_id, { state, by: actor })
}
