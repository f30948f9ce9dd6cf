import { z } from 'zod'
import {
  limitRequestSchema,
  limitSchema,
  pauseRequestSchema,
  queuesSchema,
  workerPageSchema,
} from '../../contract/queue.ts'
import {
  listWorkers,
  pauseQueue,
  type QueueScope,
  readQueues,
  removeLimit,
  resumeQueue,
  setLimit,
} from '../../tasks/queues.ts'
import type { App } from '../app.ts'
import type { Caller } from '../../identity/principal.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

const limitParams = z.object({
  scope: z.enum(['tenant', 'cluster', 'operation']),
  key: z.string().regex(/^[^/]{1,255}$/, 'is 1 to 255 characters, and no slash'),
})

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
      schema: { summary: 'The processes that are up, and those that were lost', response: { 200: workerPageSchema } },
    },
    async (request) => ({
      items: await listWorkers(database, callerOf(request).tenant),
      next_page_token: null,
    }),
  )
  for (const reach of [ownReach, platformReach]) changeRoutes(app, services, reach)
}

interface Reach {
  readonly platform: boolean
  readonly permission: 'queues.operate' | 'platform.operate'
  readonly path: '' | '/platform'
  /** Completes the summaries. */
  readonly whose: string
}

const ownReach: Reach = { platform: false, permission: 'queues.operate', path: '', whose: 'in the tenant' }
// What reaches tenants that the caller is not in.
const platformReach: Reach = {
  platform: true,
  permission: 'platform.operate',
  path: '/platform',
  whose: 'in every tenant',
}

function changeRoutes(app: App, services: Services, { platform, permission, path, whose }: Reach): void {
  const { database } = services
  const scopeOf = ({ principal, tenant }: Caller): QueueScope => ({ database, tenant, actor: principal.name, platform })
  app.post(
    `${path}/queues/pause`,
    {
      config: { permission },
      schema: {
        summary: `Let nothing start ${whose}`,
        body: pauseRequestSchema.nullish(),
        response: { 200: queuesSchema },
      },
    },
    async (request) => {
      const scope = scopeOf(callerOf(request))
      await pauseQueue(scope, request.body ?? {})
      return readQueues(database, scope.tenant)
    },
  )
  app.post(
    `${path}/queues/resume`,
    {
      config: { permission },
      schema: {
        summary: `Let it start again ${whose}`,
        body: pauseRequestSchema.omit({ reason: true }).nullish(),
        response: { 200: queuesSchema },
      },
    },
    async (request) => {
      const scope = scopeOf(callerOf(request))
      const operation = request.body?.operation
      if (!(await resumeQueue(scope, operation)))
        throw new HttpProblem('not_found', { detail: `${operation ?? 'Everything'} is not paused as such.` })
      services.signals.send('short', 'long')
      return readQueues(database, scope.tenant)
    },
  )
  app.put(
    `${path}/limits/:scope/:key`,
    {
      config: { permission },
      schema: {
        summary: `How much may run or start ${whose}`,
        params: limitParams,
        body: limitRequestSchema,
        response: { 200: limitSchema },
      },
    },
    (request) => {
      const { max_running: maxRunning, per_minute: perMinute, burst } = request.body
      const limit = limitOf(request, platform)
      return setLimit(scopeOf(callerOf(request)), { ...limit, maxRunning, perMinute, burst })
    },
  )
  app.delete(
    `${path}/limits/:scope/:key`,
    {
      config: { permission },
      schema: { summary: `Take a limit away ${whose}`, params: limitParams, response: { 204: z.null() } },
    },
    async (request, reply) => {
      const { scope, key } = limitOf(request, platform)
      if (!(await removeLimit(scopeOf(callerOf(request)), { scope, key })))
        throw new HttpProblem('not_found', { detail: `There is no limit for the ${scope} ${key}.` })
      return reply.status(204).send(null)
    },
  )
}

function limitOf(
  request: Parameters<typeof callerOf>[0] & { params: z.output<typeof limitParams> },
  platform: boolean,
): z.output<typeof limitParams> {
  const { scope, key } = request.params
  if (!platform && scope === 'tenant' && key !== callerOf(request).tenant)
    throw new HttpProblem('not_found', { detail: `There is no tenant ${key} that you act in.` })
  return { scope, key }
}
