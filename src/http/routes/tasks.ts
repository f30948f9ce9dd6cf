import { createHash } from 'node:crypto'
import { z } from 'zod'
import { eventPageSchema } from '../../contract/event.ts'
import { fromWireId } from '../../contract/ids.ts'
import { taskListQuerySchema } from '../../contract/task-list.ts'
import { acceptedSchema, cancelAnswerSchema, taskPageSchema, taskSchema } from '../../contract/task.ts'
import { isTerminal } from '../../contract/task-status.ts'
import type { Database } from '../../database/database.ts'
import { standingOf } from '../../identity/standing.ts'
import { readEvents } from '../../live/feed.sql.ts'
import { cancelTask } from '../../tasks/cancel-task.ts'
import { findTask, listTasks } from '../../tasks/find-tasks.ts'
import { retryTask } from '../../tasks/retry-task.ts'
import { type TaskRow, toTask } from '../../tasks/task-view.ts'
import { explainTickets } from '../../tasks/ticket-view.ts'
import { explainTasks, whyWaiting } from '../../tasks/why-waiting.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { matchesTag } from '../matches-tag.ts'
import { sendResult } from '../send-result.ts'
import { streamEvents } from '../event-stream.ts'
import { toWireEvent } from '../../live/wire-event.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'
import { toAnswer } from '../submit.ts'
import { waitForEnd } from '../wait-for-end.ts'
import { refuseOutOfReach } from './bulk.ts'

const params = z.object({ task_id: z.string() })

/** Tasks: one, many, their timeline, and cancel. */
export function taskRoutes(app: App, services: Services): void {
  const { database } = services

  app.get(
    '/tasks',
    {
      config: { permission: 'tasks.read' },
      schema: {
        summary: 'List tasks, newest first',
        querystring: taskListQuerySchema,
        response: { 200: taskPageSchema },
      },
    },
    async (request) => {
      const { tenant } = callerOf(request)
      const { rows, nextPageToken } = await listTasks(database, tenant, request.query)
      const why = await explainAll(database, tenant, rows)
      return { items: rows.map((row) => toTask(row, why(row))), next_page_token: nextPageToken }
    },
  )

  app.get(
    '/tasks/:task_id',
    {
      config: { permission: 'tasks.read' },
      schema: {
        summary: 'One task',
        params,
        querystring: z.object({
          wait: z.coerce.number().int().min(0).max(30).optional().describe('Seconds to wait for the end'),
        }),
        response: { 200: taskSchema, 304: z.null() },
      },
    },
    async (request, reply) => {
      const { tenant } = callerOf(request)
      const taskId = taskIdOf(request.params.task_id)
      const { wait } = request.query
      const row =
        wait === undefined
          ? await findTask(database, tenant, taskId)
          : await waitForEnd(services, { tenant, taskId, waitMs: wait * 1000 })
      const task = existing(row, request.params.task_id)
      const shown = toTask(task, (await explainAll(database, tenant, [task]))(task))
      // Every event moves `last_seq`; why it waits can change without one.
      const etag = `"${task.last_seq}${shown.why_waiting === null ? '' : `.${shortHash(shown.why_waiting)}`}"`
      void reply.header('etag', etag).header('cache-control', 'private, no-cache')
      if (!isTerminal(task.status)) void reply.header('retry-after', '1')
      if (matchesTag(request, etag)) return reply.status(304).send(null)
      return reply.status(200).send(shown)
    },
  )

  app.get(
    '/tasks/:task_id/result',
    {
      config: { permission: 'tasks.read' },
      schema: { summary: 'The result of a completed task, as bytes of its own media type', params },
    },
    async (request, reply) => {
      const { tenant } = callerOf(request)
      const taskId = taskIdOf(request.params.task_id)
      const task = existing(await findTask(database, tenant, taskId), request.params.task_id)
      return sendResult(services, { request, reply, tenant, task })
    },
  )

  app.post(
    '/tasks/:task_id/cancel',
    {
      config: { permission: 'tasks.cancel' },
      schema: { summary: 'Cancel a task', params, response: { 202: cancelAnswerSchema } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { tenant, principal } = caller
      const taskId = taskIdOf(request.params.task_id)
      const standing = existing(await findTask(database, tenant, taskId), request.params.task_id)
      // Who joined sees the task; only who asked for it, or who runs the place, may end it.
      await refuseOutOfReach(services, caller, { task: standing, verb: 'cancel it' })
      const cancelled = await cancelTask(services, { tenant, taskId, actor: principal.name })
      if (!cancelled) throw noSuchTask(request.params.task_id)
      const { task } = cancelled
      if (cancelled.kind === 'ended') {
        throw new HttpProblem('already_ended', {
          detail: `The task is ${task.status}: there is nothing left to cancel.`,
        })
      }
      return reply.status(202).send({ task: toTask(task), message: cancelled.message })
    },
  )

  app.post(
    '/tasks/:task_id/retry',
    {
      config: { permission: 'tasks.request' },
      schema: { summary: 'Try a failed task again, as a new task', params, response: { 202: acceptedSchema } },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { tenant, principal } = caller
      const taskId = taskIdOf(request.params.task_id)
      const standing = existing(await findTask(database, tenant, taskId), request.params.task_id)
      await refuseOutOfReach(services, caller, { task: standing, verb: 'try it again' })
      const accepted = await retryTask(services, { tenant, taskId, actor: principal.name, ...standingOf(principal) })
      if (!accepted) throw noSuchTask(request.params.task_id)
      const answer = toAnswer(accepted, standing.operation)
      void reply.header('location', answer.links.self).header('retry-after', '1')
      return reply.status(202).send(answer)
    },
  )

  app.get(
    '/tasks/:task_id/events',
    {
      config: { permission: 'tasks.read' },
      schema: {
        summary: 'The timeline of a task; live with Accept: text/event-stream',
        params,
        querystring: z.object({
          page_size: z.coerce.number().int().min(1).max(200).default(200),
          page_token: z
            .string()
            .regex(/^\d{1,19}$/, 'is not one that a list returned')
            .optional(),
        }),
        response: { 200: eventPageSchema },
      },
    },
    async (request, reply) => {
      const { tenant } = callerOf(request)
      const taskId = taskIdOf(request.params.task_id)
      const task = existing(await findTask(database, tenant, taskId), request.params.task_id)
      if (request.headers.accept?.includes('text/event-stream')) {
        return streamEvents(services, { request, reply, tenant, task })
      }
      const { page_size: size, page_token: after } = request.query
      const range = { after: BigInt(after ?? 0), upTo: BigInt(task.last_seq), limit: size + 1, tenant, taskId }
      const events = await readEvents(database.pool, range)
      const page = events.slice(0, size)
      return {
        items: page.map(toWireEvent),
        next_page_token: events.length > size ? (page.at(-1)?.seq.toString() ?? null) : null,
      }
    },
  )
}

/** Why each of these tasks waits: what its ticket still needs, or what else keeps it from running. */
async function explainAll(
  database: Database,
  tenant: string,
  rows: readonly TaskRow[],
): Promise<(row: TaskRow) => string | null> {
  const needs = await explainTickets(database, tenant, rows)
  const why = await explainTasks(database, tenant, rows)
  return (row) => needs.get(row.task_id) ?? whyWaiting(row, why.get(row.task_id))
}

const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12)

function taskIdOf(wireId: string): string {
  const taskId = fromWireId('task', wireId)
  if (taskId === undefined) throw new HttpProblem('not_found', { detail: `${wireId} is not a task id.` })
  return taskId
}

function existing(task: TaskRow | undefined, wireId: string): TaskRow {
  if (!task) throw noSuchTask(wireId)
  return task
}

// The same answer for a task of another tenant.
function noSuchTask(wireId: string): HttpProblem {
  return new HttpProblem('not_found', { detail: `There is no task ${wireId}.` })
}
