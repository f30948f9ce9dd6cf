import type { FastifyReply, FastifyRequest } from 'fastify'
import { toWireId } from '../contract/ids.ts'
import type { Accepted, TaskOptions } from '../contract/task.ts'
import { isTerminal, type TaskStatus } from '../contract/task-status.ts'
import { standingOf } from '../identity/standing.ts'
import type { Operation, Records } from '../operations/define-operation.ts'
import type { AcceptedTask } from '../tasks/accept-task.ts'
import { findRecord } from '../tasks/find-record.sql.ts'
import { findTask } from '../tasks/find-tasks.ts'
import { taskLinks, ticketLink, toTask } from '../tasks/task-view.ts'
import { callerOf } from './authenticate.ts'
import { flagOff } from './operation-flags.ts'
import { HttpProblem } from './problems.ts'
import type { Services } from './services.ts'
import { noteTask } from './trace-requests.ts'
import { preferredWaitMs, waitForEnd } from './wait-for-end.ts'

export interface Submission {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly operation: Operation
  readonly input: unknown
  readonly options: TaskOptions
}

/** Stop 2: accepts the change, and answers 202 once it is committed. */
export async function submit(services: Services, submission: Submission): Promise<Accepted> {
  const { request, reply, operation, input, options } = submission
  const { principal, tenant } = callerOf(request)
  await clusterCheck(services, tenant)(submission)
  await operation.precheck?.(input, recordsOf(services, tenant))
  const idempotencyKey = readIdempotencyKey(request)
  const accepted = await services.acceptor.accept({
    operation,
    input,
    options,
    tenant,
    actor: principal.name,
    ...standingOf(principal),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
  })
  const answer = toAnswer(accepted, operation.type, await sharedTicket(services, tenant, accepted))
  noteTask(request, answer.task_id)
  void reply.status(202).header('location', answer.links.self)
  const waitMs = preferredWaitMs(request)
  if (waitMs === undefined) {
    void reply.header('retry-after', '1')
    return answer
  }
  const task = await waitForEnd(services, { tenant, taskId: accepted.taskId, waitMs })
  void reply.header('preference-applied', `wait=${waitMs / 1000}`)
  if (!task) return answer
  if (!isTerminal(task.status)) void reply.header('retry-after', '1')
  return { ...answer, task: toTask(task) }
}

/** What the workers know of objects, for what an operation checks before acceptance. */
export function recordsOf({ database, places }: Services, tenant: string): Records {
  return {
    find: ({ cluster, ref, ...object }) =>
      findRecord(database, tenant, { cluster, ref, basePath: places.basePathOf(tenant, { cluster, ref, ...object }) }),
  }
}

/** What asks for a cluster by name. */
type ClusterUse = Pick<Submission, 'operation' | 'input'>

/**
 * Refuses what names a cluster that the tenant does not have. One that this process does not know may have been added a
 * moment ago in another: it looks, once for all that is checked together.
 */
export function clusterCheck(services: Services, tenant: string): (use: ClusterUse) => Promise<void> {
  let looked = false
  return async ({ operation, input }) => {
    const name = operation.cluster?.(input)
    if (name === undefined || services.clusterNames(tenant).includes(name)) return
    if (!looked) await services.clusterRegistry.look()
    looked = true
    if (!services.clusterNames(tenant).includes(name)) throw unknownCluster(name)
  }
}

function unknownCluster(name: string): HttpProblem {
  return new HttpProblem('unknown_cluster', {
    detail: `There is no cluster ${name}. Name a configured one, or leave it out for "default".`,
    errors: [{ pointer: '/cluster', message: 'is not a configured cluster' }],
  })
}

// A task of its own has a ticket of its own, with its UUID; who joins an item of a batch waits for that one's.
async function sharedTicket(services: Services, tenant: string, accepted: AcceptedTask): Promise<string | undefined> {
  const { outcome, status, taskId } = accepted
  if (status !== 'AWAITING_APPROVAL' || outcome === 'accepted') return undefined
  return (await findTask(services.database, tenant, taskId))?.ticket_id ?? undefined
}

/** The 202, or the problem that stands for what the database refused. */
export function toAnswer(accepted: AcceptedTask, operation: string, ticketId = accepted.taskId): Accepted {
  const { outcome, status, taskId } = accepted
  const links = taskLinks(taskId)
  switch (outcome) {
    case 'key_reused':
      throw new HttpProblem('idempotency_key_reused', {
        detail: 'This Idempotency-Key came with another request in the last 24 hours. Use a new key for a new request.',
      })
    case 'conflict':
      throw new HttpProblem('conflict', {
        detail: `Another task is ${status} on what this ${operation} would change. Wait for it to end, or cancel it: ${links.self}`,
        task: links.self,
      })
    case 'denied':
      throw new HttpProblem('policy_denied', { detail: `The policy refuses it: ${accepted.reason ?? ''}` })
    case 'forbidden':
      throw new HttpProblem('forbidden', { detail: accepted.reason ?? '' })
    case 'flag_off':
      throw flagOff(operation, accepted.flag ?? '')
    case 'unconfirmed':
      throw new HttpProblem('confirmation_required', {
        detail: accepted.reason ?? '',
        errors: [{ pointer: '/task/confirm_name', message: 'must be the name of what is deleted' }],
      })
    case 'tickets_of_requester':
    case 'tickets_of_tenant':
      throw new HttpProblem('too_many_tickets', {
        detail: `Too many requests ${outcome === 'tickets_of_tenant' ? 'of your tenant' : 'of yours'} wait for an approval already. Have some decided, or withdraw some.`,
      })
    case 'over_quota':
      throw new HttpProblem('quota_exceeded', {
        detail: `Your tenant has as many active tasks as its quota allows: ${accepted.reason ?? ''}. Wait for some to end, or cancel some.`,
      })
    case 'accepted':
    case 'joined':
    case 'replayed': {
      const { deduplicated } = accepted
      return {
        task_id: toWireId('task', taskId),
        status,
        message: messageOf(status, deduplicated),
        ...(deduplicated && { deduplicated }),
        links: status === 'AWAITING_APPROVAL' ? { ...links, ticket: ticketLink(ticketId) } : links,
      }
    }
  }
}

function messageOf(status: TaskStatus, deduplicated: boolean): string {
  if (deduplicated) return 'The same change is already under way: this is its task'
  if (status === 'AWAITING_APPROVAL') return 'Task accepted, waiting for an approval'
  if (status === 'SCHEDULED') return 'Task accepted, scheduled for later'
  return 'Task accepted, processing asynchronously'
}

function readIdempotencyKey(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key
  throw new HttpProblem('malformed_request', {
    detail: 'Idempotency-Key must be 1 to 255 visible ASCII characters, such as a UUID.',
  })
}
