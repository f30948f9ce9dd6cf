import fastifyCookie from '@fastify/cookie'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyError, type FastifyRequest } from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { withSource } from '../database/request-source.ts'
import { authenticate } from './authenticate.ts'
import { authorise, permissionOf, requirePermission } from './authorise.ts'
import { serveConsole } from './console.ts'
import { registerOpenApi } from './openapi.ts'
import { HttpProblem, toProblem } from './problems.ts'
import { accountRoutes } from './routes/account.ts'
import { approvalRoutes } from './routes/approvals.ts'
import { auditRoutes } from './routes/audit.ts'
import { batchRoutes } from './routes/batches.ts'
import { bulkRoutes } from './routes/bulk.ts'
import { clusterRoutes } from './routes/clusters.ts'
import { deadLetterRoutes } from './routes/dead-letters.ts'
import { createRequestLimits, type RequestLimitsOptions } from './request-limits.ts'
import { healthRoutes } from './routes/health.ts'
import { liveRoutes } from './routes/live.ts'
import { loginRoutes } from './routes/login.ts'
import { operationRoutes } from './routes/operations.ts'
import { resourceRoutes } from './routes/resources.ts'
import { notificationRoutes } from './routes/notifications.ts'
import { policyRoutes } from './routes/policies.ts'
import { queueRoutes } from './routes/queues.ts'
import { scheduleRoutes } from './routes/schedules.ts'
import { taskRoutes } from './routes/tasks.ts'
import { webhookRoutes } from './routes/webhooks.ts'
import { roleBindingRoutes } from './routes/role-bindings.ts'
import { tokenRoutes } from './routes/tokens.ts'
import { createDenialRecorder } from './record-denied.ts'
import type { Services } from './services.ts'
import { refuseBadReason, sourceOf } from './source-of.ts'
import { noteError, traceIdOf, traceRequests } from './trace-requests.ts'
import { recheckLateAnswer } from './watch-access.ts'

/** Our Fastify, with types that flow from the zod schemas of each route. */
export type App = ReturnType<typeof createFastify>

export interface AppOptions {
  readonly services: Services
  /** Folder of the built console; without it `/` answers 404. */
  readonly consoleDir?: string
  readonly requestLimits?: RequestLimitsOptions
  /** Addresses and networks (CIDR) whose `X-Forwarded-For` says where a request comes from. @default none */
  readonly trustProxy?: readonly string[]
}

const bodyLimit = 1024 * 1024

/** The HTTP API and the console, ready to listen or to be asked without a socket (`inject`). */
export async function createApp(options: AppOptions): Promise<App> {
  const { services } = options
  const app = createFastify(options)
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  traceRequests(app, services)
  answerProblems(app, services)
  readEmptyJsonAsNone(app)
  await app.register(fastifyCookie)
  await app.register(fastifyWebsocket, { options: { maxPayload: 64 * 1024 } })
  await registerOpenApi(app)
  const limits = createRequestLimits(options.requestLimits)

  await app.register(async (root) => healthRoutes(root.withTypeProvider<ZodTypeProvider>(), services))
  await app.register(
    async (scope) => {
      const api = scope.withTypeProvider<ZodTypeProvider>()
      api.addHook('onRoute', requirePermission)
      api.addHook('onRequest', async (request) => {
        await refuseWhileStarting(services)
        const permission = permissionOf(request)
        if (permission === 'public') return
        const caller = await authenticate(services.identity, request)
        limits.take(caller)
        authorise(caller, permission)
      })
      // The body has been read, which would lose the context.
      api.addHook('preValidation', (request, _reply, done) => {
        if (permissionOf(request) === 'public') return done()
        refuseBadReason(request)
        withSource(sourceOf(request), done)
      })
      api.addHook('preSerialization', async (request, _reply, payload) => {
        await recheckLateAnswer(services, request)
        return payload
      })
      accountRoutes(api, services)
      taskRoutes(api, services)
      operationRoutes(api, services)
      resourceRoutes(api, services)
      clusterRoutes(api, services)
      approvalRoutes(api, services)
      policyRoutes(api, services)
      notificationRoutes(api, services)
      webhookRoutes(api, services)
      auditRoutes(api, services)
      bulkRoutes(api, services)
      batchRoutes(api, services)
      deadLetterRoutes(api, services)
      queueRoutes(api, services)
      scheduleRoutes(api, services)
      tokenRoutes(api, services)
      roleBindingRoutes(api, services)
      liveRoutes(api, services)
    },
    { prefix: '/api/v1' },
  )
  await app.register(async (scope) => {
    const pages = scope.withTypeProvider<ZodTypeProvider>()
    pages.addHook('onRoute', requirePermission)
    pages.addHook('onRequest', () => refuseWhileStarting(services))
    loginRoutes(pages, services)
  })
  if (options.consoleDir !== undefined) await serveConsole(app, options.consoleDir)
  await app.ready()
  return app
}

function createFastify({ trustProxy = [] }: Pick<AppOptions, 'trustProxy'>) {
  return Fastify({
    bodyLimit,
    trustProxy: [...trustProxy],
    // Ours below: one constant message per request would only repeat what metrics tell.
    logger: false,
    genReqId: () => '',
    routerOptions: { maxParamLength: 253 },
    // Streams and sockets are ended by their own routes on close.
    forceCloseConnections: true,
  }).withTypeProvider<ZodTypeProvider>()
}

async function refuseWhileStarting(services: Services): Promise<void> {
  if (services.ready()) return
  const [reason] = await services.notReady()
  throw new HttpProblem('starting', { detail: reason ?? 'Sluice is starting.' })
}

function answerProblems(app: App, services: Services): void {
  const recordDenied = createDenialRecorder(services)
  app.setErrorHandler(async (error: FastifyError | HttpProblem, request, reply) => {
    const problem = toProblem(error, traceIdOf(request))
    await recordDenied(request, problem)
    if (problem.status >= 500) {
      noteError(request, error)
      services.logger.error('request failed', { method: request.method, url: pathOf(request), error })
    }
    if (problem.status === 503) void reply.header('retry-after', '2')
    const retryAfter = error instanceof HttpProblem ? error.details.retryAfterSeconds : undefined
    if (problem.status === 429) void reply.header('retry-after', String(retryAfter ?? 60))
    if (problem.status === 401) void reply.header('www-authenticate', 'Bearer')
    return reply.status(problem.status).type('application/problem+json').serializer(JSON.stringify).send(problem)
  })
  app.setNotFoundHandler((request, reply) => {
    const detail = `There is nothing at ${request.method} ${pathOf(request)}.`
    const problem = toProblem(new HttpProblem('not_found', { detail }), traceIdOf(request))
    return reply.status(404).type('application/problem+json').serializer(JSON.stringify).send(problem)
  })
}

// A query may hold a pass.
function pathOf(request: FastifyRequest): string {
  return request.url.split('?')[0] ?? ''
}

// `POST …/cancel` has no body; many clients still say that they send JSON.
function readEmptyJsonAsNone(app: App): void {
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') {
      done(null, undefined)
      return
    }
    try {
      done(null, JSON.parse(String(body)))
    } catch (error) {
      // Node quotes what stands around the place: that may be a secret.
      const reason = (error instanceof Error ? error.message : 'unreadable').replace(/, \.*"[^]*$/, '')
      done(new HttpProblem('malformed_request', { detail: `The body is not JSON: ${reason}.`, cause: error }))
    }
  })
}
