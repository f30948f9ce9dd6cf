import { describeStage, type Stage } from '../approvals/policy.ts'
import { TicketRefusedError } from '../approvals/ticket-refused-error.ts'
import {
  closeTicket,
  type DecisionRow,
  enterStage,
  lockTicket,
  mayDecide,
  readDecisions,
  recordDecision,
  type TicketRow,
} from '../approvals/ticket.sql.ts'
import { toWireId } from '../contract/ids.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import type { SignalSender } from '../database/signals.ts'
import type { Queue } from '../queue/queue.ts'
import { appendEvent } from './append-event.sql.ts'
import { releaseTask } from './release-task.ts'
import type { TaskRow } from './task-view.ts'
import { readTask } from './ticket-dossier.sql.ts'

export interface DecideTicketOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
}

export interface TicketDecision {
  readonly tenant: string
  readonly ticketId: string
  readonly person: { readonly name: string; readonly roles: readonly string[]; readonly groups?: readonly string[] }
  readonly decision: 'approve' | 'reject' | 'withdraw'
  readonly comment?: string | undefined
  /** What the person saw; compared where given. */
  readonly payloadHash?: string | undefined
  readonly ruleDigest?: string | undefined
  readonly diffDigest?: string | undefined
}

/** The database's word for "it moved on meanwhile", and for a deadlock with somebody who moved it. */
const movedCodes = new Set(['SL001', '40P01'])

/**
 * Stop 3: takes a decision. The last approval that a ticket needs closes it and inserts the job in one transaction;
 * whoever comes second is told so. @throws TicketRefusedError
 */
export async function decideTicket(options: DecideTicketOptions, decision: TicketDecision): Promise<TaskRow> {
  for (let tries = 0; ; tries++) {
    try {
      const { task, released } = await options.database.transaction(
        { role: 'sluice_api', tenant: decision.tenant },
        (tx) => decideOnce(options, tx, decision),
      )
      options.signals.send('events', ...(released ? [task.class] : []))
      return task
    } catch (error) {
      const moved = error instanceof Error && 'code' in error && movedCodes.has(String(error.code))
      if (!moved || tries >= 5) throw error
    }
  }
}

interface Decided {
  readonly task: TaskRow
  readonly released: boolean
}

async function decideOnce(options: DecideTicketOptions, tx: Transaction, decision: TicketDecision): Promise<Decided> {
  const { ticketId, person } = decision
  const ticket = await lockTicket(tx, ticketId)
  if (!ticket) throw new TicketRefusedError('not_found', `There is no ticket ${toWireId('ticket', ticketId)}.`)
  const task = await readTask(tx, ticket.task_id)
  refuseClosed(ticket)
  refuseChanged(ticket, decision)
  switch (decision.decision) {
    case 'withdraw': {
      if (person.name !== ticket.requested_by) {
        const detail = `Only ${ticket.requested_by}, who asked, may withdraw the request.`
        throw new TicketRefusedError('not_the_requester', detail)
      }
      await closeTicket(tx, ticketId, { state: 'withdrawn', by: person.name })
      const error = problem('cancelled', 'Cancelled', `Withdrawn by ${person.name} before it was decided.`)
      await end(tx, { ticket, type: 'task.cancelled', decision, error })
      return { task: await readTask(tx, ticket.task_id), released: false }
    }
    case 'reject': {
      await refusePerson(tx, { ticket, task, person })
      await recordDecision(tx, newDecision(ticket, decision, 'reject'))
      await closeTicket(tx, ticketId, { state: 'rejected', by: person.name })
      const why = decision.comment === undefined ? '' : `: ${decision.comment}`
      await end(tx, {
        ticket,
        type: 'task.rejected',
        decision,
        error: problem('rejected', 'Rejected', `Rejected by ${person.name}${why}`),
      })
      return { task: await readTask(tx, ticket.task_id), released: false }
    }
    case 'approve':
      await refusePerson(tx, { ticket, task, person })
      await recordDecision(tx, newDecision(ticket, decision, 'approve'))
      return approve(options, tx, { ticket, task, decision })
  }
}

interface Approval {
  readonly ticket: TicketRow
  readonly task: TaskRow
  readonly decision: TicketDecision
}

async function approve(options: DecideTicketOptions, tx: Transaction, approval: Approval): Promise<Decided> {
  const { ticket, task, decision } = approval
  const { ticket_id: ticketId, task_id: taskId, stages, stage } = ticket
  const given = await readDecisions(tx, ticketId)
  const complete = countApprovals(given, stage, task) >= (stages[stage]?.quorum ?? 1)
  const isLast = stage + 1 >= stages.length
  if (!complete || !isLast) {
    if (complete) await enterStage(tx, ticketId, stage + 1)
    const next = complete ? stages[stage + 1] : undefined
    const data = {
      ticket: toWireId('ticket', ticketId),
      task: toWireId('task', taskId),
      stage: stages[stage]?.name,
      ...said(decision),
      ...(next && { notify: deciders(next), requesters: [task.requested_by, ...task.joined_by] }),
    }
    await appendNote(tx, { type: 'ticket.approved', actor: decision.person.name, data })
    return { task, released: false }
  }
  const data = { ...outline(ticket), approved_by: given.map(({ principal }) => principal), ...said(decision) }
  await appendEvent(tx, {
    taskId,
    type: 'task.approved',
    actor: decision.person.name,
    data: { ...data, ...(task.start_at && { start_at: task.start_at.toISOString() }) },
  })
  // The event holds the task's row. Whoever joined before it counts as a requester, and their approval for nothing.
  const held = await readTask(tx, taskId)
  if (countApprovals(given, stage, held) < (stages[stage]?.quorum ?? 1)) throw new JoinedMeanwhileError()
  await closeTicket(tx, ticketId, { state: 'approved', by: decision.person.name })
  await releaseTask(tx, options.queue, held)
  return { task: held, released: true }
}

/** Somebody whose approval counted has joined the task since: look again. */
class JoinedMeanwhileError extends Error {
  readonly code = 'SL001'
}

/** Whom to tell that a stage waits for them. */
export const deciders = ({ roles, groups }: Stage): string[] => [
  ...roles.map((role) => `role:${role}`),
  ...groups.map((group) => `group:${group}`),
]

function countApprovals(given: readonly DecisionRow[], stage: number, task: TaskRow): number {
  return given.filter((one) => one.stage === stage && one.decision === 'approve' && !isRequester(task, one.principal))
    .length
}

export const isRequester = (task: Pick<TaskRow, 'requested_by' | 'joined_by'>, name: string): boolean =>
  task.requested_by === name || task.joined_by.includes(name)

function refuseClosed(ticket: TicketRow & { readonly overdue: boolean }): void {
  if (ticket.state !== 'open') {
    const detail = `The ticket is closed: ${ticket.state} by ${ticket.closed_by} at ${ticket.closed_at?.toISOString()}.`
    throw new TicketRefusedError('ticket_closed', detail)
  }
  if (ticket.overdue) {
    throw new TicketRefusedError('ticket_closed', `The ticket expired at ${ticket.expires_at.toISOString()}.`)
  }
}

function refuseChanged(ticket: TicketRow, { payloadHash, ruleDigest }: TicketDecision): void {
  if (payloadHash !== undefined && payloadHash !== ticket.payload_hash) {
    throw new TicketRefusedError(
      'payload_changed',
      'This is not the payload that the ticket is about. Read the ticket again.',
    )
  }
  if (ruleDigest !== undefined && ruleDigest !== ticket.rule_digest) {
    throw new TicketRefusedError(
      'rule_changed',
      'The rule that asks for this approval has changed. Read the ticket again.',
    )
  }
}

async function refusePerson(
  tx: Transaction,
  { ticket, task, person }: { ticket: TicketRow; task: TaskRow; person: TicketDecision['person'] },
): Promise<void> {
  const reason = whyNot(ticket, task, person)
  if (reason) throw new TicketRefusedError(reason.code, reason.message)
  const given = await readDecisions(tx, ticket.ticket_id)
  if (given.some(({ principal }) => principal === person.name)) {
    throw new TicketRefusedError(
      'already_decided',
      'You have decided on this ticket already; somebody else has to go on.',
    )
  }
}

/** Why a person may not decide the stage that the ticket is in; undefined when they may. */
export function whyNot(
  ticket: Pick<TicketRow, 'stages' | 'stage'>,
  task: Pick<TaskRow, 'requested_by' | 'joined_by'>,
  person: TicketDecision['person'],
): { readonly code: 'own_request' | 'not_an_approver'; readonly message: string } | undefined {
  if (isRequester(task, person.name)) {
    return { code: 'own_request', message: 'Nobody decides on what they asked for, or joined, themselves.' }
  }
  const stage: Stage | undefined = ticket.stages[ticket.stage]
  if (mayDecide(stage, person)) return undefined
  return { code: 'not_an_approver', message: `This needs ${stage ? describeStage(stage) : 'nobody'}; you are neither.` }
}

function newDecision(ticket: TicketRow, given: TicketDecision, decision: 'approve' | 'reject') {
  const { person, comment = null, diffDigest = null } = given
  return { ticket, decision, principal: person.name, comment, diffDigest }
}

const outline = (ticket: TicketRow) => ({
  ticket: toWireId('ticket', ticket.ticket_id),
  rule: ticket.rule,
  rule_digest: ticket.rule_digest,
  payload_hash: ticket.payload_hash,
})

const said = ({ comment, diffDigest }: TicketDecision) => ({
  ...(comment !== undefined && { comment }),
  ...(diffDigest !== undefined && { diff_digest: diffDigest }),
})

interface End {
  readonly ticket: TicketRow
  readonly type: 'task.cancelled' | 'task.rejected'
  readonly decision: TicketDecision
  readonly error: Record<string, unknown>
}

function end(tx: Transaction, { ticket, type, decision, error }: End): Promise<void> {
  const data = { ...outline(ticket), ...said(decision), error }
  return appendEvent(tx, { taskId: ticket.task_id, type, actor: decision.person.name, data })
}

/** What a task that a decision ended says in the place of a result. */
export function problem(code: 'cancelled' | 'rejected' | 'expired', title: string, detail: string) {
  return { type: `https://sluice.dev/errors/${code}`, title, status: 409, detail, code, retryable: false }
}
