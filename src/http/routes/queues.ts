import { z } from 'zod'
import {
  limitRequestSchema,
  limitSchema,
  pauseRequestSchema,
  queuesSchema,
  workerPageSchema,
} from '../../contract/queue.ts'
import { listWorkers, pauseQueue, readQueues, removeLimit, resumeQueue, setLimit } from '../../tasks/queues.ts'
import type { App } from '../app.ts'
import type { Caller } from '../../identity/principal.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

const limitParams = z.object({ scope: z.enum(['tenant', 'cluster', 'operation']), key: z.string() })

/** What waits and runs, pauses and limits; and who works on it. */
export function queueRoutes(app: App, services: Services): void {
  const { database } = services
  app.get(
    '/queues',
    {
      config: { permission: 'queues.read' },
      schema: { summary: 'What waits and runs, per operation', response: { 200: queuesSchema } },
    },
    (request) => readQueues(database, callerOf(request).tenant),
  )
  app.get(
    '/workers',
    {
      config: { permission: 'queues.read' },
      schema: { summary: 'The processes that take jobs', response: { 200: workerPageSchema } },
    },
    async (request) => ({
      items: await listWorkers(database, callerOf(request).tenant),
      next_page_token: null,
    }),
  )
  app.post(
    '/queues/pause',
    {
      config: { permission: 'queues.operate' },
      schema: { summary: 'Let nothing start', body: pauseRequestSchema.nullish(), response: { 200: queuesSchema } },
    },
    async (request) => {
      const scope = adminScope(services, callerOf(request))
      await pauseQueue(scope, request.body ?? {})
      return readQueues(database, scope.tenant)
    },
  )
  app.post(
    '/queues/resume',
    {
      config: { permission: 'queues.operate' },
      schema: {
        summary: 'Let it start again',
        body: pauseRequestSchema.omit({ reason: true }).nullish(),
        response: { 200: queuesSchema },
      },
    },
    async (request) => {
      const scope = adminScope(services, callerOf(request))
      const operation = request.body?.operation
      if (!(await resumeQueue(scope, operation)))
        throw new HttpProblem('not_found', { detail: `${operation ?? 'Everything'} is not paused as such.` })
      services.signals.send('short', 'long')
      return readQueues(database, scope.tenant)
    },
  )
  app.put(
    '/limits/:scope/:key',
    {
      config: { permission: 'queues.operate' },
      schema: {
        summary: 'How much may run or start',
        params: limitParams,
        body: limitRequestSchema,
        response: { 200: limitSchema },
      },
    },
    (request) => {
      const { max_running: maxRunning, per_minute: perMinute, burst } = request.body
      return setLimit(adminScope(services, callerOf(request)), { ...ownLimit(request), maxRunning, perMinute, burst })
    },
  )
  app.delete(
    '/limits/:scope/:key',
    {
      config: { permission: 'queues.operate' },
      schema: { summary: 'Take a limit away', params: limitParams, response: { 204: z.null() } },
    },
    async (request, reply) => {
      const { scope, key } = ownLimit(request)
      if (!(await removeLimit(adminScope(services, callerOf(request)), { scope, key })))
        throw new HttpProblem('not_found', { detail: `There is no limit for the ${scope} ${key}.` })
      return reply.status(204).send(null)
    },
  )
}

function ownLimit(request: Parameters<typeof callerOf>[0] & { params: z.output<typeof limitParams> }) {
  const { scope, key } = request.params
  const { tenant } = callerOf(request)
  if (scope === 'tenant' && key !== tenant)
    throw new HttpProblem('not_found', { detail: `There is no tenant ${key} that you act in.` })
  return { scope, key }
}

function adminScope(services: Services, { principal, tenant }: Caller) {
  if (!['operator', 'admin'].some((role) => principal.roles.includes(role)))
    throw new HttpProblem('forbidden', {
      detail: 'Only an operator or an admin may pause, resume and limit what runs.',
    })
  return { database: services.database, tenant, actor: principal.name }
}
