import type { Verdict } from '../approvals/policy.ts'
import type { ActivePolicy } from '../approvals/policy-store.ts'
import {
  closeTicket,
  keepTicket,
  lockTicket,
  readDecisions,
  rebindTicket,
  type TicketRow,
} from '../approvals/ticket.sql.ts'
import { toWireId } from '../contract/ids.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Logger } from '../platform/logger.ts'
import type { Queue } from '../queue/queue.ts'
import { appendEvent } from './append-event.sql.ts'
import { deciders, problem } from './decide-ticket.ts'
import { listStaleTickets } from './due-tickets.sql.ts'
import { readRequest, readTask } from './ticket-dossier.sql.ts'
import { toFacts } from './gate.ts'
import { releaseTask } from './release-task.ts'
import type { TaskRow } from './task-view.ts'

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
 * → bound to it, decisions dropped; denied → REJECTED; allowed → the job is inserted. Returns how many there were.
 */
export async function reevaluateTickets(options: ReevaluateOptions): Promise<number> {
  const { version } = options.active()
  const stale = await options.database.transaction({ role: 'sluice_feed' }, (tx) => listStaleTickets(tx, version))
  for (const { ticketId, tenant } of stale) {
    const woken = await options.database.transaction({ role: 'sluice_api', tenant }, (tx) =>
      reevaluate(options, tx, ticketId),
    )
    options.signals.send('events', ...(woken ? [woken] : []))
  }
  return stale.length
}

async function reevaluate(
  options: ReevaluateOptions,
  tx: Transaction,
  ticketId: string,
): Promise<TaskRow['class'] | undefined> {
  const { policy, version } = options.active()
  const ticket = await lockTicket(tx, ticketId)
  if (!ticket || ticket.state !== 'open' || ticket.policy_version >= version) return undefined
  const task = await readTask(tx, ticket.task_id)
  const request = await readRequest(tx, task)
  const environment = policy.environmentOf(request.placement ?? undefined)
  const source = {
    operation: task.operation,
    tenant: task.tenant_id,
    actor: task.requested_by,
    environment,
    now: new Date(),
  }
  const verdict = policy.evaluate(toFacts(source, request, task.target !== null))
  const data = {
    ticket: toWireId('ticket', ticketId),
    rule: verdict.rule,
    policy_version: version,
    explain: verdict.explain,
  }
  switch (verdict.outcome) {
    case 'approval':
      if (verdict.ruleDigest === ticket.rule_digest) await keepTicket(tx, ticketId, version)
      else await rebind(tx, { ticket, verdict, version, data })
      return undefined
    case 'deny': {
      await closeTicket(tx, ticketId, { state: 'rejected', by: actor })
      const error = problem('rejected', 'Rejected', `The policy denies it now: ${verdict.reason}`)
      await appendEvent(tx, { taskId: task.task_id, type: 'task.rejected', actor, data: { ...data, error } })
      return undefined
    }
    case 'allow':
      await closeTicket(tx, ticketId, { state: 'approved', by: actor })
      await appendEvent(tx, {
        taskId: task.task_id,
        type: 'task.approved',
        actor,
        data: { ...data, ...(task.start_at && { start_at: task.start_at.toISOString() }) },
      })
      await releaseTask(tx, options.queue, task)
      return task.class
  }
}

interface Rebinding {
  readonly ticket: TicketRow
  readonly verdict: Extract<Verdict, { outcome: 'approval' }>
  readonly version: number
  readonly data: Record<string, unknown>
}

async function rebind(tx: Transaction, { ticket, verdict, version, data }: Rebinding): Promise<void> {
  const dropped = await readDecisions(tx, ticket.ticket_id)
  await rebindTicket(tx, ticket.ticket_id, { verdict, version })
  const [first] = verdict.stages
  const people = [ticket.requested_by, ...dropped.map(({ principal }) => principal)]
  const notify = [...people.map((name) => `principal:${name}`), ...(first ? deciders(first) : [])]
  await appendNote(tx, {
    type: 'ticket.changed',
    actor,
    data: { ...data, task: toWireId('task', ticket.task_id), notify },
  })
}
