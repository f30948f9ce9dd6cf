import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { fromWireId } from '../contract/ids.ts'
import { withLogFields } from '../platform/log-context.ts'
import type { Span } from '../platform/tracer.ts'
import type { App } from './app.ts'
import type { Services } from './services.ts'

interface RequestTrace {
  readonly span: Span
  /** Runs what comes next as part of the request: reading a body continues in the connection's own context. */
  readonly enter: (next: () => void) => void
  readonly began: number
  taskId?: string
  /** What goes on for as long as somebody looks says nothing about how fast we are. */
  streams?: boolean
}

const traces = new WeakMap<FastifyRequest, RequestTrace>()

/** The id under which the request is found in traces and in the log. */
export function traceIdOf(request: FastifyRequest): string {
  // A request that the router could not read has met no hook.
  return traces.get(request)?.span.traceId ?? randomBytes(16).toString('hex')
}

/** Says which task the request turned out to be about. */
export function noteTask(request: FastifyRequest, taskId: string): void {
  const trace = traces.get(request)
  if (!trace) return
  trace.taskId = taskId
  trace.span.setAttributes({ 'sluice.task.id': taskId })
}

/** Says that the answer goes on for as long as somebody looks. */
export function noteStream(request: FastifyRequest): void {
  const trace = traces.get(request)
  if (trace) trace.streams = true
}

/** Marks the request's span as failed. */
export function noteError(request: FastifyRequest, error: unknown): void {
  traces.get(request)?.span.recordError(error)
}

/**
 * Gives every request a span, which continues the caller's W3C trace where there is one, and tells the caller the trace
 * in `traceparent` and, for the browser's own tools, in `server-timing`.
 */
export function traceRequests(
  app: App,
  { tracer, logger, instruments }: Pick<Services, 'tracer' | 'logger' | 'instruments'>,
): void {
  app.addHook('onRequest', (request, reply, done) => {
    const { method } = request
    const route = request.routeOptions.url ?? 'no route'
    const { traceparent: parent } = request.headers
    const taskId = namedTask(request)
    const serve = (span: Span): Promise<void> => {
      const trace: RequestTrace = {
        span,
        enter: AsyncLocalStorage.snapshot(),
        began: performance.now(),
        ...(taskId && { taskId }),
      }
      traces.set(request, trace)
      void reply
        .header('traceparent', span.traceparent)
        .header('server-timing', `traceparent;desc="${span.traceparent}"`)
      done()
      return ended(request, reply).then(() => {
        const { statusCode: status } = reply.raw
        span.setAttributes({ 'http.response.status_code': status })
        const durationMs = Math.round(performance.now() - trace.began)
        if (!request.ws && !trace.streams) instruments?.answered({ method, route, status, seconds: durationMs / 1000 })
        const about = trace.taskId === undefined ? {} : { taskId: trace.taskId }
        logger.debug('request answered', { method, route, status, durationMs, ...about })
      })
    }
    const attributes = {
      'http.request.method': method,
      'http.route': route,
      ...(taskId !== undefined && { 'sluice.task.id': taskId }),
    }
    const options = { kind: 'server' as const, attributes, ...(typeof parent === 'string' && { parent }) }
    void withLogFields(taskId === undefined ? {} : { taskId }, () =>
      tracer.withSpan(`${method} ${route}`, serve, options),
    )
  })
  app.addHook('preValidation', (request, _reply, done) => {
    const trace = traces.get(request)
    if (trace) trace.enter(done)
    else done()
  })
}

/** A live connection goes on for hours: its span ends with the handshake. */
function ended(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (request.ws) return Promise.resolve()
  return new Promise((resolve) => {
    reply.raw.once('close', resolve)
  })
}

/** The task in the path, where it is an id: what else a caller writes there is not for the log. */
function namedTask(request: FastifyRequest): string | undefined {
  // A route's parameters are strings by its path.
  const { task_id: taskId } = (request.params ?? {}) as { readonly task_id?: string }
  return taskId !== undefined && fromWireId('task', taskId) !== undefined ? taskId : undefined
}
