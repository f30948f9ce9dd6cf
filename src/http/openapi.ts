import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { App } from './app.ts'

/** OpenAPI 3.1 from the schemas that validate: `GET /api/v1/openapi.json`, for people at `/api/v1/docs`. */
export async function registerOpenApi(app: App): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sluice',
        description: 'Every change is a task: accepted with 202, run by a worker, waited on until it is really ready.',
        version: '1',
      },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
    transform: (route) => {
      const { schema, url } = jsonSchemaTransform(route)
      const permission = route.route.config?.permission
      // Readers of the document, and the authorisation matrix, learn from it what a route asks of its caller.
      const declared = permission === undefined ? {} : { 'x-sluice-permission': permission }
      return { schema: { ...schema, ...declared, ...(permission === 'public' && { security: [] }) }, url }
    },
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject
      for (const path of Object.values(document.openapiObject.paths ?? {})) markOptionalBodies(path)
      return document.openapiObject
    },
  })
  await app.register(fastifySwaggerUi, { routePrefix: '/api/v1/docs' })
  app.get('/api/v1/openapi.json', { schema: { hide: true } }, () => app.swagger())
}

const methods = ['post', 'put', 'patch', 'delete'] as const
interface RequestBody {
  readonly $ref?: string
  readonly content?: Readonly<Record<string, { schema?: object }>>
  required?: boolean
}
type PathItem = { readonly [method in (typeof methods)[number]]?: { readonly requestBody?: RequestBody } }

// The generator calls every body required, and one that may be left out null.
function markOptionalBodies(path: PathItem | undefined): void {
  for (const method of methods) {
    const body = path?.[method]?.requestBody
    const json = body?.content?.['application/json']
    const described = orNull.safeParse(json?.schema).data
    if (!body || !json || !described) continue
    body.required = false
    json.schema = described.anyOf[0]
  }
}

const orNull = z.object({ anyOf: z.tuple([z.looseObject({}), z.object({ type: z.literal('null') })]) })
