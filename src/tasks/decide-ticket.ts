import { deciders, describeStage, type Stage } from '../approvals/policy.ts'
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
import { fromWireId, toWireId } from '../contract/ids.ts'
import { appendNote } from '../database/append-note.sql.ts'
import type { Database, Transaction } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import type { SignalSender } from '../database/signals.ts'
import { environmentsOf, mayIn, rolesIn, type Standing } from '../identity/standing.ts'
import type { Tracer } from '../platform/tracer.ts'
import type { Queue } from '../queue/queue.ts'
import { findTraceparents } from './find-traceparents.sql.ts'
import { hasMoved, MovedMeanwhileError } from './moved-meanwhile.ts'
import { releaseTasks } from './release-tasks.ts'
import type { TaskRow } from './task-view.ts'
import { readTask } from './ticket-dossier.sql.ts'
import {
  appendToEach,
  type Asking,
  type EventOfEach,
  type HeldTask,
  readAsking,
  readHeldTasks,
} from './ticket-items.sql.ts'
import { aboutTicket, closeOrRenew, tellOfBatch } from './ticket-rest.ts'

export interface DecideTicketOptions {
  readonly database: Database
  readonly queue: Queue
  readonly signals: SignalSender
  /** @default no trace */
  readonly tracer?: Tracer
}

export interface TicketDecision {
  readonly tenant: string
  readonly ticketId: string
  readonly person: Standing & { readonly name: string }
  readonly decision: 'approve' | 'reject' | 'withdraw'
  readonly comment?: string | undefined
  /** What the person saw; compared where given. */
  readonly payloadHash?: string | undefined
  readonly ruleDigest?: string | undefined
  readonly diffDigest?: string | undefined
  /** Which items of a batch are rejected, by task id or by place in the batch; all of them by default. */
  readonly items?: readonly (string | number)[] | undefined
}

/**
 * Stop 3: takes a decision. The last approval that a ticket needs closes it and inserts the jobs in one transaction;
 * whoever comes second is told so. Returns the task as the decision left it; of a batch's ticket there is no one task.
 * @throws TicketRefusedError
 */
export async function decideTicket(options: DecideTicketOptions, decision: TicketDecision): Promise<TaskRow | null> {
  const { tracer, database } = options
  if (!tracer) return decidePersistently(options, decision)
  const { tenant, ticketId } = decision
  // Asked for days ago, in another trace: the two point to each other.
  const links = await readAsTenant(database, tenant, (tx) => findTraceparents(tx, ticketId))
  return tracer.withSpan(`${decision.decision} ticket`, () => decidePersistently(options, decision), {
    attributes: { 'sluice.ticket.id': toWireId('ticket', ticketId) },
    links,
  })
}

async function decidePersistently(options: DecideTicketOptions, decision: TicketDecision): Promise<TaskRow | null> {
  for (let tries = 0; ; tries++) {
    try {
      const { task, released } = await options.database.transaction(
        { role: 'sluice_api', tenant: decision.tenant },
        async (tx) => {
          const decided = await decideOnce(options, tx, decision)
          const taskId = decided.ticket.task_id
          return { ...decided, task: taskId === null ? null : await readTask(tx, taskId) }
        },
      )
      options.signals.send(...released, 'events')
      return task
    } catch (error) {
      if (!hasMoved(error) || tries >= 5) throw error
    }
  }
}

interface Decided {
  readonly ticket: TicketRow
  /** The classes of what may run now. */
  readonly released: readonly TaskRow['class'][]
}

interface Deciding {
  readonly ticket: TicketRow
  readonly held: readonly HeldTask[]
  readonly decision: TicketDecision
}

async function decideOnce(options: DecideTicketOptions, tx: Transaction, decision: TicketDecision): Promise<Decided> {
  const { ticketId } = decision
  const ticket = await lockTicket(tx, ticketId)
  if (!ticket) throw new TicketRefusedError('not_found', `There is no ticket ${toWireId('ticket', ticketId)}.`)
  refuseClosed(ticket)
  refuseChanged(ticket, decision)
  const deciding = { ticket, held: await readHeldTasks(tx, ticket), decision }
  switch (decision.decision) {
    case 'withdraw':
      await withdraw(tx, deciding)
      return { ticket, released: [] }
    case 'reject':
      await reject(tx, deciding)
      return { ticket, released: [] }
    case 'approve':
      return { ticket, released: await approve(options, tx, deciding) }
  }
}

async function withdraw(tx: Transaction, { ticket, held, decision }: Deciding): Promise<void> {
  const { person } = decision
  if (person.name !== ticket.requested_by) {
    const detail = `Only ${ticket.requested_by}, who asked, may withdraw the request.`
    throw new TicketRefusedError('not_the_requester', detail)
  }
  await closeTicket(tx, ticket.ticket_id, { state: 'withdrawn', by: person.name })
  const error = problem('cancelled', 'Cancelled', `Withdrawn by ${person.name} before it was decided.`)
  await end(tx, { ticket, type: 'task.cancelled', tasks: held, decision, error })
  await tellOfBatch(tx, ticket, {
    type: 'ticket.withdrawn',
    actor: person.name,
    data: { items: held.length, ...said(decision) },
  })
}

async function reject(tx: Transaction, { ticket, held, decision }: Deciding): Promise<void> {
  const { person, comment = null, diffDigest = null } = decision
  await refusePerson(tx, ticket, person)
  const refused = chooseItems(ticket, held, decision.items)
  const whole = refused.length === held.length
  const items = whole ? undefined : refused.map(({ task_id }) => task_id)
  await recordDecision(tx, { ticket, decision: 'reject', ...signatureOf(person), comment, diffDigest, items })
  const why = decision.comment === undefined ? '' : `: ${decision.comment}`
  const error = problem('rejected', 'Rejected', `Rejected by ${person.name}${why}`)
  await end(tx, { ticket, type: 'task.rejected', tasks: refused, decision, error })
  await closeOrRenew(tx, ticket, { state: 'rejected', by: person.name })
  await tellOfBatch(tx, ticket, {
    type: 'ticket.decided',
    actor: person.name,
    data: {
      status: 'rejected',
      items: refused.length,
      left: held.length - refused.length,
      ...said(decision),
      notify: [`principal:${ticket.requested_by}`],
    },
  })
}

async function approve(
  options: DecideTicketOptions,
  tx: Transaction,
  { ticket, held, decision }: Deciding,
): Promise<readonly TaskRow['class'][]> {
  const { person, comment = null, diffDigest = null } = decision
  const { ticket_id: ticketId, stages, stage } = ticket
  await refusePerson(tx, ticket, person)
  await recordDecision(tx, { ticket, decision: 'approve', ...signatureOf(person), comment, diffDigest })
  const given = await readDecisions(tx, ticketId)
  const asking = await readAsking(tx, ticket)
  const quorum = stages[stage]?.quorum ?? 1
  const complete = countApprovals(given, stage, asking) >= quorum
  if (!complete || stage + 1 < stages.length) {
    if (complete) await enterStage(tx, ticketId, stage + 1)
    const next = complete ? stages[stage + 1] : undefined
    const data = {
      ...aboutTicket(ticket),
      stage: stages[stage]?.name,
      ...said(decision),
      ...(ticket.batch_id !== null && { items: held.length }),
      ...(next && { notify: deciders(next), except: [...namesIn(asking), ...given.flatMap(namesBehind)] }),
    }
    await appendNote(tx, { type: 'ticket.approved', actor: person.name, data })
    return []
  }
  const traceparent = options.tracer?.currentTraceparent()
  const data = {
    ...outline(ticket),
    approved_by: given.map(({ principal }) => principal),
    ...said(decision),
    ...(traceparent !== undefined && { traceparent }),
  }
  await appendToEach(tx, { type: 'task.approved', actor: person.name, data, tasks: held })
  // The events hold the tasks' rows. Who joined before them counts as a requester, and their approval for nothing.
  if (countApprovals(given, stage, await readAsking(tx, ticket)) < quorum) throw new MovedMeanwhileError()
  await closeTicket(tx, ticketId, { state: 'approved', by: person.name })
  await tellOfBatch(tx, ticket, {
    type: 'ticket.decided',
    actor: person.name,
    data: {
      status: 'approved',
      items: held.length,
      left: 0,
      ...said(decision),
      notify: [`principal:${ticket.requested_by}`],
    },
  })
  return releaseTasks(tx, options.queue, held)
}

// All of them, unless some are named.
function chooseItems(
  ticket: TicketRow,
  held: readonly HeldTask[],
  named: TicketDecision['items'],
): readonly HeldTask[] {
  if (named === undefined) return held
  const chosen = new Set<HeldTask>()
  named.forEach((name, index) => {
    const item =
      typeof name === 'number'
        ? held.find(({ position }) => position === name)
        : held.find(({ task_id }) => task_id === fromWireId('task', name))
    if (!item) {
      const detail = `Item ${name} does not wait for ticket ${toWireId('ticket', ticket.ticket_id)}: it never did, or it has ended.`
      throw new TicketRefusedError('unknown_item', detail, index)
    }
    chosen.add(item)
  })
  return held.filter((item) => chosen.has(item))
}

/** How many approvals a stage has that count: not those of who asked, or came to want it since. */
export function countApprovals(
  given: readonly (Signature & Pick<DecisionRow, 'stage' | 'decision'>)[],
  stage: number,
  asking: Asking,
): number {
  return given.filter((one) => one.stage === stage && one.decision === 'approve' && !isOwn(asking, one)).length
}

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
      ticket.batch_id === null
        ? 'This is not the payload that the ticket is about. Read the ticket again.'
        : 'These are not the items that wait for the ticket: some may have ended meanwhile. Read the ticket again.',
    )
  }
  if (ruleDigest !== undefined && ruleDigest !== ticket.rule_digest) {
    throw new TicketRefusedError(
      'rule_changed',
      'The rule that asks for this approval has changed. Read the ticket again.',
    )
  }
}

async function refusePerson(tx: Transaction, ticket: TicketRow, person: TicketDecision['person']): Promise<void> {
  const reason = whyNot(ticket, await readAsking(tx, ticket), person)
  if (reason) throw new TicketRefusedError(reason.code, reason.message)
  if (hasDecided(await readDecisions(tx, ticket.ticket_id), person)) {
    throw new TicketRefusedError(
      'already_decided',
      'You have decided on this ticket already; somebody else has to go on.',
    )
  }
}

/** Whose name a decision bears, and who else had the token in hand that it was given with. */
interface Signature {
  readonly principal: string
  readonly made_by: readonly string[]
}

/** Who decides with a token that they made for somebody else decides themselves. */
const namesBehind = ({ principal, made_by }: Signature): readonly string[] => [principal, ...made_by]

const namesIn = ({ requesters, makers }: Asking): readonly string[] => [...requesters, ...makers]

const signatureOf = ({ name, madeBy }: TicketDecision['person']): Signature => ({
  principal: name,
  made_by: madeBy ?? [],
})

// Not maker against maker, here and below: who gives all of a tenant their tokens would keep them from deciding for each
// other, and beside each other.
function isOwn({ requesters, makers }: Asking, one: Signature): boolean {
  return makers.includes(one.principal) || namesBehind(one).some((name) => requesters.includes(name))
}

/** Whether a person, or a token that they made for somebody else, has decided before, whichever of the two came first. */
export function hasDecided(given: readonly Signature[], person: TicketDecision['person']): boolean {
  const self = signatureOf(person)
  return given.some((one) => one.made_by.includes(self.principal) || namesBehind(self).includes(one.principal))
}

/** Why a person may not decide the stage that the ticket is in; undefined when they may. */
export function whyNot(
  ticket: Pick<TicketRow, 'stages' | 'stage' | 'environment'>,
  asking: Asking,
  person: TicketDecision['person'],
): { readonly code: 'own_request' | 'not_an_approver'; readonly message: string } | undefined {
  if (isOwn(asking, signatureOf(person))) {
    return { code: 'own_request', message: 'Nobody decides on what they asked for, or joined, themselves.' }
  }
  const { environment } = ticket
  const there = environmentsOf(person, 'approvals.decide')
  if (there && there.length > 0 && !there.includes(environment)) {
    const message = `You may decide in ${there.join(', ')} only, and this is in ${environment}.`
    return { code: 'not_an_approver', message }
  }
  const stage: Stage | undefined = ticket.stages[ticket.stage]
  const here = { ...person, roles: rolesIn(person, environment) }
  if (mayIn(person, 'approvals.decide', environment) && mayDecide(stage, here)) return undefined
  return { code: 'not_an_approver', message: `This needs ${stage ? describeStage(stage) : 'nobody'}; you are neither.` }
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

interface End extends Pick<EventOfEach, 'type' | 'tasks'> {
  readonly ticket: TicketRow
  readonly decision: TicketDecision
  readonly error: Record<string, unknown>
}

function end(tx: Transaction, { ticket, type, tasks, decision, error }: End): Promise<void> {
  const data = { ...outline(ticket), ...said(decision), error }
  return appendToEach(tx, { type, actor: decision.person.name, data, tasks })
}

/** What a task that a decision ended says in the place of a result. */
export function problem(code: 'cancelled' | 'rejected' | 'expired', title: string, detail: string) {
  return { type: `https://sluice.dev/errors/${code}`, title, status: 409, detail, code, retryable: false }
}
