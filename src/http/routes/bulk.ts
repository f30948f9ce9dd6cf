import type { z } from 'zod'
import { batchSchema, bulkRequestSchema } from '../../contract/batch.ts'
import { toWireId } from '../../contract/ids.ts'
import { bulkActionAnswerSchema, bulkActionSchema, type BulkActionAnswer } from '../../contract/task-list.ts'
import { RefusedError } from '../../operations/define-operation.ts'
import type { AcceptRequest } from '../../tasks/accept-task.ts'
import { cancelMany, isWithin, type ManyResult, retryMany } from '../../tasks/act-on-many.ts'
import type { BatchRow } from '../../tasks/batch.sql.ts'
import { acceptBatch, BatchRefusedError, toBatch } from '../../tasks/batch.ts'
import type { TaskRow } from '../../tasks/task-view.ts'
import type { App } from '../app.ts'
import type { Caller } from '../../identity/principal.ts'
import { environmentsOf, standingOf } from '../../identity/standing.ts'
import type { Reach } from '../../tasks/act-on-many.sql.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem, inputDetail } from '../problems.ts'
import type { Services } from '../services.ts'
import { clusterCheck, recordsOf } from '../submit.ts'
import { findOperation } from './operations.ts'

const bulkBodyLimit = 16 * 1024 * 1024

/** Changes to many tasks at once. */
export function bulkRoutes(app: App, services: Services): void {
  app.post(
    '/tasks/bulk',
    {
      bodyLimit: bulkBodyLimit,
      config: { permission: 'tasks.request' },
      schema: {
        summary: 'Ask for up to 10,000 changes at once',
        body: bulkRequestSchema,
        response: { 202: batchSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { items, on_error: onError, concurrency } = request.body
      const batch = await acceptItems(services, {
        items: await checkItems(services, caller, items),
        tenant: caller.tenant,
        actor: caller.principal.name,
        onError,
        ...(concurrency !== undefined && { concurrency }),
      })
      const answer = toBatch(batch)
      void reply.header('location', answer.links.self).header('retry-after', '1')
      return reply.status(202).send(answer)
    },
  )

  const action = { body: bulkActionSchema, response: { 200: bulkActionAnswerSchema, 202: bulkActionAnswerSchema } }
  app.post(
    '/tasks/cancel',
    { config: { permission: 'tasks.cancel' }, schema: { summary: 'Cancel every task that matches', ...action } },
    async (request, reply) => {
      const { filter, dry_run: dryRun } = request.body
      const result = await cancelMany(services, { ...actorOf(callerOf(request)), filter, dryRun })
      return reply.status(dryRun ? 200 : 202).send(toActionAnswer(result, dryRun))
    },
  )
  app.post(
    '/tasks/retry',
    {
      config: { permission: 'tasks.request' },
      schema: { summary: 'Try every failed task again that matches', ...action },
    },
    async (request, reply) => {
      const { filter, dry_run: dryRun } = request.body
      const result = await retryMany(services, { ...actorOf(callerOf(request)), filter, dryRun })
      return reply.status(dryRun ? 200 : 202).send(toActionAnswer(result, dryRun))
    },
  )
}

/** Whose tasks the caller may act on. Undefined: everybody's of the tenant. */
function reachOf({ principal, permissions }: Caller): Reach | undefined {
  const environments = permissions.has('tasks.operate') ? environmentsOf(principal, 'tasks.operate') : []
  return environments && { of: principal.name, environments }
}

/** Answers 403 unless it is the caller's own task, or they operate where it is: one by one reaches no further than many. */
export async function refuseOutOfReach(
  { database }: Services,
  caller: Caller,
  { task, verb }: { readonly task: TaskRow; readonly verb: string },
): Promise<void> {
  const reach = reachOf(caller)
  if (!reach || (await isWithin(database, { reach, tenant: caller.tenant, taskId: task.task_id }))) return
  throw new HttpProblem('forbidden', {
    detail: `Only ${task.requested_by}, who asked for the task, and an operator or an admin of where it is may ${verb}.`,
  })
}

/** As who an action on many acts: who operates on every task of the tenant, anybody else on their own. */
export function actorOf(caller: Caller) {
  const { principal, tenant } = caller
  const reach = reachOf(caller)
  return {
    tenant,
    actor: principal.name,
    ...standingOf(principal),
    ...(reach && { reach }),
  }
}

export function toActionAnswer({ matched, done, refused }: ManyResult, dryRun: boolean): BulkActionAnswer {
  return {
    matched,
    done,
    dry_run: dryRun,
    refused: refused.map(({ taskId, code, detail }) => ({ task_id: toWireId('task', taskId), code, detail })),
  }
}

/** Turns the items that the database refuses into a problem that names them. */
export async function acceptItems(services: Services, request: Parameters<typeof acceptBatch>[1]): Promise<BatchRow> {
  try {
    return await acceptBatch(services, request)
  } catch (error) {
    if (!(error instanceof BatchRefusedError)) throw error
    throw refused(error.errors.map(({ index, message }) => ({ pointer: `/items/${index}`, message })))
  }
}

type Items = z.output<typeof bulkRequestSchema>['items']

// Everything that is wrong with any item, before anything is written.
async function checkItems(services: Services, { tenant, principal }: Caller, items: Items): Promise<AcceptRequest[]> {
  const errors: { pointer: string; message: string }[] = []
  const requests: AcceptRequest[] = []
  const checkCluster = clusterCheck(services, tenant)
  const records = recordsOf(services, tenant)
  for (const [index, item] of items.entries()) {
    const below = `/items/${index}`
    try {
      const { operation, input } = findOperation(services, item, below)
      await checkCluster({ operation, input })
      await operation.precheck?.(input, records)
      requests.push({
        operation,
        input,
        options: item.task ?? {},
        tenant,
        actor: principal.name,
        ...standingOf(principal),
      })
    } catch (error) {
      if (error instanceof HttpProblem)
        errors.push(
          ...(error.details.errors ?? []).map(({ pointer, message }) => ({ pointer: under(below, pointer), message })),
        )
      else if (error instanceof RefusedError) errors.push({ pointer: below, message: error.message })
      else throw error
    }
  }
  if (errors.length > 0) throw refused(errors)
  return requests
}

const under = (below: string, pointer: string): string =>
  pointer.startsWith(`${below}/`) ? pointer : `${below}/input${pointer}`

function refused(errors: { pointer: string; message: string }[]): HttpProblem {
  return new HttpProblem('batch_refused', { detail: `${inputDetail(errors)}. Nothing was accepted.`, errors })
}
