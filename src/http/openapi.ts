import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import { jsonSchemaTransform } from 'fastify-type-provider-zod'
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
  })
  await app.register(fastifySwaggerUi, { routePrefix: '/api/v1/docs' })
  app.get('/api/v1/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
