import { z } from 'zod'
import { fromWireId } from '../../contract/ids.ts'
import {
  bulkActionAnswerSchema,
  bulkFilterSchema,
  deadLetterSchema,
  taskListQuerySchema,
} from '../../contract/task-list.ts'
import { acceptedSchema, taskPageSchema } from '../../contract/task.ts'
import { standingOf } from '../../identity/standing.ts'
import { readEvents } from '../../live/feed.sql.ts'
import { retryMany } from '../../tasks/act-on-many.ts'
import { findTask, listTasks } from '../../tasks/find-tasks.ts'
import { retryTask } from '../../tasks/retry-task.ts'
import { type TaskRow, toTask } from '../../tasks/task-view.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'
import { toAnswer } from '../submit.ts'
import { toWireEvent } from '../../live/wire-event.ts'
import { actorOf, refuseOutOfReach, toActionAnswer } from './bulk.ts'

const params = z.object({ task_id: z.string() })

/** Tasks whose attempts were used up: look at them, and replay one, many or all that match. */
export function deadLetterRoutes(app: App, services: Services): void {
  const { database } = services
  const find = async (tenant: string, wireId: string): Promise<TaskRow> => {
    const taskId = fromWireId('task', wireId)
    const task = taskId && (await findTask(database, tenant, taskId))
    if (!task || !task.dead_lettered)
      throw new HttpProblem('not_found', { detail: `There is no dead letter ${wireId}.` })
    return task
  }

  app.get(
    '/dead-letters',
    {
      config: { permission: 'tasks.read' },
      schema: {
        summary: 'Tasks whose attempts were used up, newest first',
        querystring: taskListQuerySchema.omit({ dead_lettered: true, status: true }),
        response: { 200: taskPageSchema },
      },
    },
    async (request) => {
      const query = { ...request.query, dead_lettered: true }
      const { rows, nextPageToken } = await listTasks(database, callerOf(request).tenant, query)
      return { items: rows.map((row) => toTask(row)), next_page_token: nextPageToken }
    },
  )
  app.get(
    '/dead-letters/:task_id',
    {
      config: { permission: 'tasks.read' },
      schema: {
        summary: 'A dead letter, with the error of each attempt',
        params,
        response: { 200: deadLetterSchema },
      },
    },
    async (request) => {
      const { tenant } = callerOf(request)
      const task = await find(tenant, request.params.task_id)
      const range = { after: 0n, upTo: BigInt(task.last_seq), limit: 1_000, tenant, taskId: task.task_id }
      const events = await readEvents(database.pool, range)
      const attempts = events.filter(({ type }) => type === 'task.retrying' || type === 'task.failed')
      return { task: toTask(task), attempts: attempts.map(toWireEvent) }
    },
  )
  app.post(
    '/dead-letters/:task_id/replay',
    {
      config: { permission: 'tasks.request' },
      schema: { summary: 'Ask for the change again, as a new task', params, response: { 202: acceptedSchema } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { tenant, principal } = caller
      const task = await find(tenant, request.params.task_id)
      await refuseOutOfReach(services, caller, { task, verb: 'replay it' })
      const accepted = await retryTask(services, {
        tenant,
        taskId: task.task_id,
        actor: principal.name,
        ...standingOf(principal),
      })
      if (!accepted)
        throw new HttpProblem('not_found', { detail: `There is no dead letter ${request.params.task_id}.` })
      const answer = toAnswer(accepted, task.operation)
      void reply.header('location', answer.links.self)
      return reply.status(202).send(answer)
    },
  )
  app.post(
    '/dead-letters/replay',
    {
      config: { permission: 'tasks.request' },
      schema: {
        summary: 'Replay every dead letter that matches and was not replayed before; all without a filter',
        body: z.strictObject({ filter: bulkFilterSchema.optional(), dry_run: z.boolean().default(false) }),
        response: { 200: bulkActionAnswerSchema, 202: bulkActionAnswerSchema },
      },
    },
    async (request, reply) => {
      const { filter, dry_run: dryRun } = request.body
      const result = await retryMany(services, {
        ...actorOf(callerOf(request)),
        filter: { ...filter, dead_lettered: true },
        dryRun,
      })
      return reply.status(dryRun ? 200 : 202).send(toActionAnswer(result, dryRun))
    },
  )
}
