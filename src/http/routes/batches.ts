import { z } from 'zod'
import { batchPageSchema, batchSchema } from '../../contract/batch.ts'
import { fromWireId } from '../../contract/ids.ts'
import { bulkActionAnswerSchema } from '../../contract/task-list.ts'
import { cancelMany } from '../../tasks/act-on-many.ts'
import type { BatchRow } from '../../tasks/batch.sql.ts'
import { failedItems, findBatch, listBatches, toBatch } from '../../tasks/batch.ts'
import type { App } from '../app.ts'
import type { Caller } from '../../identity/principal.ts'
import { standingOf } from '../../identity/standing.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'
import { acceptItems, actorOf, toActionAnswer } from './bulk.ts'

const params = z.object({ batch_id: z.string() })

/** Batches: how far they are, cancel, and retry of what failed. */
export function batchRoutes(app: App, services: Services): void {
  const { database } = services
  const find = async (tenant: string, wireId: string): Promise<BatchRow> => {
    const batchId = fromWireId('batch', wireId)
    const batch = batchId && (await findBatch(database, tenant, batchId))
    if (!batch) throw new HttpProblem('not_found', { detail: `There is no batch ${wireId}.` })
    return batch
  }

  app.get(
    '/batches',
    {
      config: { permission: 'tasks.read' },
      schema: {
        summary: 'List batches, newest first',
        querystring: z.strictObject({
          page_size: z.coerce.number().int().min(1).max(200).default(50),
          page_token: z.string().optional(),
        }),
        response: { 200: batchPageSchema },
      },
    },
    async (request) => {
      const { page_size: size, page_token: token } = request.query
      const { rows, nextPageToken } = await listBatches(database, callerOf(request).tenant, { size, token })
      return { items: rows.map(toBatch), next_page_token: nextPageToken }
    },
  )
  app.get(
    '/batches/:batch_id',
    { config: { permission: 'tasks.read' }, schema: { summary: 'One batch', params, response: { 200: batchSchema } } },
    async (request) => toBatch(await find(callerOf(request).tenant, request.params.batch_id)),
  )
  app.post(
    '/batches/:batch_id/cancel',
    {
      config: { permission: 'tasks.cancel' },
      schema: { summary: 'Cancel what is left of a batch', params, response: { 202: bulkActionAnswerSchema } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const batch = await find(caller.tenant, request.params.batch_id)
      mayActOn(caller, batch)
      const { reach, ...actor } = actorOf(caller)
      const theirs = batch.requested_by !== caller.principal.name
      const result = await cancelMany(services, {
        ...actor,
        ...(theirs && reach && { reach }),
        filter: { batch_id: request.params.batch_id },
      })
      return reply.status(202).send(toActionAnswer(result, false))
    },
  )
  app.post(
    '/batches/:batch_id/retry',
    {
      config: { permission: 'tasks.request' },
      schema: { summary: 'Try the failed items again, as a new batch', params, response: { 202: batchSchema } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const batch = await find(caller.tenant, request.params.batch_id)
      mayActOn(caller, batch)
      const items = await failedItems(services, {
        tenant: caller.tenant,
        actor: caller.principal.name,
        ...standingOf(caller.principal),
        batchId: batch.batch_id,
      })
      if (items.length === 0)
        throw new HttpProblem('not_retryable', { detail: `No item of ${request.params.batch_id} has failed.` })
      const again = await acceptItems(services, {
        items,
        tenant: caller.tenant,
        actor: caller.principal.name,
        onError: batch.on_error,
        retryOf: batch.batch_id,
        ...(batch.concurrency !== null && { concurrency: batch.concurrency }),
      })
      const answer = toBatch(again)
      void reply.header('location', answer.links.self)
      return reply.status(202).send(answer)
    },
  )
}

function mayActOn({ principal, permissions }: Caller, batch: BatchRow): void {
  if (batch.requested_by === principal.name || permissions.has('tasks.operate')) return
  throw new HttpProblem('forbidden', {
    detail: `Only ${batch.requested_by}, who asked for the batch, or who has the permission tasks.operate may do this.`,
  })
}
