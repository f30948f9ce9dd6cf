import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { operationPageSchema } from '../../contract/operation.ts'
import { acceptedSchema, type TaskOptions, taskOptionsSchema } from '../../contract/task.ts'
import type { Operation } from '../../operations/define-operation.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { dryRunSchema, runDry } from '../dry-run.ts'
import { withFlags } from '../operation-flags.ts'
import { HttpProblem, inputDetail } from '../problems.ts'
import type { Services } from '../services.ts'
import { submit } from '../submit.ts'

const genericBody = z.strictObject({
  operation: z.string(),
  input: z.record(z.string(), z.unknown()),
  task: taskOptionsSchema.optional(),
})

/** Changes: the generic route, and each operation's own. */
export function operationRoutes(app: App, services: Services): void {
  app.get(
    '/operations',
    {
      config: { permission: 'operations.read' },
      schema: { summary: 'What can be asked for', response: { 200: operationPageSchema } },
    },
    async (request) => ({
      items: (await withFlags(services, callerOf(request))).map(({ operation, flag }) => ({
        type: operation.type,
        summary: operation.title,
        class: operation.class,
        timeout_ms: operation.timeoutMs,
        flag,
        route: operation.route ? { method: operation.route.method, path: `/api/v1${operation.route.path}` } : null,
        input_schema: z.toJSONSchema(operation.input, { io: 'input' }),
      })),
      next_page_token: null,
    }),
  )

  app.post(
    '/tasks',
    {
      config: { permission: 'tasks.request' },
      schema: { summary: 'Ask for any operation', body: genericBody, response: { 202: acceptedSchema } },
    },
    (request, reply) => {
      const { operation, input } = findOperation(services, request.body)
      return submit(services, { request, reply, operation, input, options: request.body.task ?? {} })
    },
  )
  app.post(
    '/tasks/dry-run',
    {
      config: { permission: 'tasks.request' },
      schema: { summary: 'What any operation would do', body: genericBody, response: { 200: dryRunSchema } },
    },
    (request) => {
      const { operation, input } = findOperation(services, request.body)
      return runDry(services, { request, operation, input, asking: true })
    },
  )
  for (const operation of services.operations.all()) if (operation.route) ownRoutes(app, services, operation)
}

/** The operation that a body names, and its input. `below` is where they stand in the body, for the pointers. */
export function findOperation(
  services: Services,
  body: { readonly operation: string; readonly input: unknown },
  below = '',
) {
  const operation = services.operations.get(body.operation)
  if (!operation) {
    const known = services.operations.all().map(({ type }) => type)
    throw new HttpProblem('unknown_operation', {
      detail: `There is no operation ${body.operation}. There are: ${known.join(', ')}.`,
      errors: [{ pointer: `${below}/operation`, message: 'is not an operation' }],
    })
  }
  return { operation, input: parseInput(operation, body.input, `${below}/input`) }
}

function parseInput(operation: Operation, input: unknown, below: string): unknown {
  const parsed = operation.input.safeParse(input)
  const errors = parsed.success
    ? (operation.validate?.(parsed.data) ?? []).map(({ pointer, message }) => ({
        pointer: `${below}${pointer}`,
        message,
      }))
    : parsed.error.issues.map(({ path, message }) => ({
        pointer: `${below}${path.map((part) => `/${String(part)}`).join('')}`,
        message,
      }))
  if (parsed.success && errors.length === 0) return parsed.data
  throw new HttpProblem('invalid_input', { detail: inputDetail(errors), errors })
}

// Path parameters are fields of the input; the rest stands in the body, or in the query where a body is unusual.
function ownRoutes(app: App, services: Services, operation: Operation): void {
  const { route } = operation
  if (!route) return
  const pathFields = [...route.path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? '')
  const isField = Object.fromEntries(pathFields.map((field) => [field, true] as const))
  const params = operation.input.pick(isField)
  const rest = operation.input.omit(isField)
  const task = { task: taskOptionsSchema.optional() }
  const inQuery = route.method === 'DELETE'
  const whole = inQuery ? z.strictObject(task) : rest.extend(task)
  // Where nothing has to be said (`POST /vms/default/web/stop`), no body is needed.
  const body = whole.safeParse({}).success ? whole.nullish() : whole

  const read = (request: FastifyRequest): { input: unknown; options: TaskOptions } => {
    // The route's own schemas have parsed all three.
    const { task: options, ...fields } = (request.body ?? {}) as { task?: TaskOptions }
    const query = inQuery ? (request.query as object) : {}
    const input = parseInput(operation, { ...fields, ...query, ...(request.params as object) }, '')
    return { input, options: options ?? {} }
  }
  app.route({
    method: route.method,
    url: route.path,
    config: { permission: 'tasks.request' },
    schema: {
      summary: operation.title,
      params,
      ...(inQuery && { querystring: rest }),
      body,
      response: { 202: acceptedSchema },
    },
    handler: (request: FastifyRequest, reply: FastifyReply) =>
      submit(services, { request, reply, operation, ...read(request) }),
  })
  if (route.method !== 'POST') return
  app.route({
    method: 'POST',
    url: `${route.path}/dry-run`,
    config: { permission: 'tasks.request' },
    schema: {
      summary: `${operation.title}: dry run`,
      params,
      body,
      response: { 200: dryRunSchema },
    },
    handler: (request: FastifyRequest) =>
      runDry(services, { request, operation, input: read(request).input, asking: true }),
  })
}
