import { resourceListQuerySchema, resourcePageSchema } from '../../contract/resource.ts'
import { listResources } from '../../tasks/find-resources.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import type { Services } from '../services.ts'

/** Managed objects and analyses. */
export function resourceRoutes(app: App, services: Services): void {
  app.get(
    '/resources',
    {
      config: { permission: 'resources.read' },
      schema: {
        summary: 'Managed objects and analyses, as the workers last knew them',
        querystring: resourceListQuerySchema,
        response: { 200: resourcePageSchema },
      },
    },
    (request) => listResources(services.database, callerOf(request).tenant, request.query),
  )
}
