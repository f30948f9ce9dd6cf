import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { TicketRefusedError, type TicketRefusal } from '../../approvals/ticket-refused-error.ts'
import {
  approveRequestSchema,
  decisionAnswerSchema,
  rejectRequestSchema,
  type TicketDetail,
  ticketDetailSchema,
  ticketItemPageSchema,
  ticketItemsQuerySchema,
  ticketListQuerySchema,
  ticketPageSchema,
  withdrawRequestSchema,
} from '../../contract/approval.ts'
import { fromWireId } from '../../contract/ids.ts'
import { readAsTenant } from '../../database/read-as-tenant.ts'
import { findBatch, toBatch } from '../../tasks/batch.ts'
import { decideTicket, type TicketDecision } from '../../tasks/decide-ticket.ts'
import { openInput } from '../../tasks/secret-input.ts'
import { toTask } from '../../tasks/task-view.ts'
import type { TicketDossier } from '../../tasks/ticket-dossier.sql.ts'
import { findTicket, listTicketItems, listTickets, toTicket } from '../../tasks/ticket-view.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { runDry } from '../dry-run.ts'
import { HttpProblem, type ProblemCode } from '../problems.ts'
import type { Services } from '../services.ts'

const params = z.object({ ticket: z.string() })
const noBatch = '00000000-0000-0000-0000-000000000000'

/** Approvals: the inbox, one ticket, and the decisions. */
export function approvalRoutes(app: App, services: Services): void {
  app.get(
    '/approvals',
    {
      config: { permission: 'approvals.read' },
      schema: {
        summary: 'What the caller may decide, oldest first',
        querystring: ticketListQuerySchema,
        response: { 200: ticketPageSchema },
      },
    },
    async (request) => {
      const { principal, tenant } = callerOf(request)
      const { state, mine = false, page_size: size, page_token: token } = request.query
      const after = token === undefined ? undefined : fromWireId('ticket', token)
      if (token !== undefined && after === undefined) {
        throw new HttpProblem('invalid_page_token', { detail: 'page_token is not one that a list returned.' })
      }
      const { batch_id: batch } = request.query
      // What is no batch has no tickets.
      const batchId = batch === undefined ? undefined : (fromWireId('batch', batch) ?? noBatch)
      const query = { tenant, state, person: principal, mine, batchId, after, limit: size + 1 }
      const dossiers = await listTickets(services.database, query)
      const page = dossiers.slice(0, size).map((dossier) => toTicket(dossier, principal))
      // Who has decided already, or made the requester's token, has nothing to do there. A page may be short for it.
      const items = page.filter(({ may_decide: may }) => mine || state !== 'open' || may)
      return { items, next_page_token: dossiers.length > size ? (page.at(-1)?.ticket_id ?? null) : null }
    },
  )

  app.get(
    '/approvals/:ticket',
    {
      config: { permission: 'approvals.read' },
      schema: { summary: 'One ticket, with a dry run', params, response: { 200: ticketDetailSchema } },
    },
    async (request) => {
      const dossier = await existing(services, request, request.params.ticket)
      const dryRun = dossier.ticket.state === 'open' ? await tryDry(services, request, dossier) : null
      return { ...toTicket(dossier, callerOf(request).principal), dry_run: dryRun }
    },
  )

  app.get(
    '/approvals/:ticket/items',
    {
      config: { permission: 'approvals.read' },
      schema: {
        summary: 'The changes that a ticket is about, in the order of their batch',
        params,
        querystring: ticketItemsQuerySchema,
        response: { 200: ticketItemPageSchema },
      },
    },
    async (request) => {
      const { page_size: size, page_token: token } = request.query
      const dossier = await existing(services, request, request.params.ticket)
      const after = token === undefined ? -1 : Number(token)
      const page = { dossier, after, limit: size + 1 }
      const found = await listTicketItems(services.database, callerOf(request).tenant, page)
      const items = found.slice(0, size)
      return { items, next_page_token: found.length > size ? String(items.at(-1)?.position) : null }
    },
  )

  const answer = { params, response: { 200: decisionAnswerSchema } }
  app.post(
    '/approvals/:ticket/approve',
    {
      config: { permission: 'approvals.decide' },
      schema: { summary: 'Approve', body: approveRequestSchema, ...answer },
    },
    (request) => decide(services, request, { decision: 'approve', ticket: request.params.ticket, said: request.body }),
  )
  app.post(
    '/approvals/:ticket/reject',
    { config: { permission: 'approvals.decide' }, schema: { summary: 'Reject', body: rejectRequestSchema, ...answer } },
    (request) => decide(services, request, { decision: 'reject', ticket: request.params.ticket, said: request.body }),
  )
  app.post(
    '/approvals/:ticket/withdraw',
    {
      config: { permission: 'tasks.cancel' },
      schema: { summary: 'Take back what you asked for', body: withdrawRequestSchema, ...answer },
    },
    (request) =>
      decide(services, request, { decision: 'withdraw', ticket: request.params.ticket, said: request.body ?? {} }),
  )
}

interface Said {
  readonly decision: TicketDecision['decision']
  readonly ticket: string
  readonly said: z.output<typeof rejectRequestSchema>
}

async function decide(services: Services, request: FastifyRequest, { decision, ticket, said }: Said) {
  const { principal, tenant } = callerOf(request)
  try {
    const task = await decideTicket(services, {
      tenant,
      ticketId: ticketIdOf(ticket),
      person: principal,
      decision,
      comment: said.comment,
      payloadHash: said.payload_hash,
      ruleDigest: said.rule_digest,
      diffDigest: said.diff_digest,
      items: said.items,
    })
    const dossier = await existing(services, request, ticket)
    const { batch_id: batchId } = dossier.ticket
    const batch = batchId === null ? undefined : await findBatch(services.database, tenant, batchId)
    return { ticket: toTicket(dossier, principal), task: task && toTask(task), batch: batch ? toBatch(batch) : null }
  } catch (error) {
    if (!(error instanceof TicketRefusedError)) throw error
    const { code, message: detail, index } = error
    throw new HttpProblem(refusals[code], {
      detail,
      ...(index !== undefined && {
        errors: [{ pointer: `/items/${index}`, message: 'does not wait for this ticket' }],
      }),
    })
  }
}

const refusals = {
  not_found: 'not_found',
  ticket_closed: 'ticket_closed',
  payload_changed: 'ticket_changed',
  rule_changed: 'ticket_changed',
  already_decided: 'forbidden',
  own_request: 'forbidden',
  not_an_approver: 'forbidden',
  not_the_requester: 'forbidden',
  unknown_item: 'invalid_input',
} as const satisfies Record<TicketRefusal, ProblemCode>

async function existing(services: Services, request: FastifyRequest, wireId: string): Promise<TicketDossier> {
  const dossier = await findTicket(services.database, callerOf(request).tenant, ticketIdOf(wireId))
  // The same answer for a ticket of another tenant.
  if (!dossier) throw new HttpProblem('not_found', { detail: `There is no ticket ${wireId}.` })
  return dossier
}

function ticketIdOf(wireId: string): string {
  const ticketId = fromWireId('ticket', wireId)
  if (ticketId === undefined) throw new HttpProblem('not_found', { detail: `${wireId} is not a ticket id.` })
  return ticketId
}

// Best effort: a ticket can be read, and decided, while the cluster is away. Many items would be many calls.
async function tryDry(
  services: Services,
  request: FastifyRequest,
  { subject }: TicketDossier,
): Promise<TicketDetail['dry_run']> {
  if (subject.kind === 'items') return null
  const operation = services.operations.get(subject.task.operation)
  if (!operation?.dryRun) return null
  const { tenant } = callerOf(request)
  try {
    const owner = { tenant, id: subject.task.task_id }
    const kept = { owner, operation, input: subject.request.input }
    const input = await readAsTenant(services.database, tenant, (tx) => openInput(tx, services.secrets, kept))
    const { diff, warnings } = await runDry(services, { request, operation, input })
    return { diff, diff_digest: createHash('sha256').update(diff).digest('hex'), warnings, error: null }
  } catch (error) {
    return {
      diff: null,
      diff_digest: null,
      warnings: [],
      error: error instanceof Error ? error.message : String(error),
    }
  }
}
