import { z } from 'zod'
import { resourceListQuerySchema, resourcePageSchema } from '../../contract/resource.ts'
import { listResources } from '../../tasks/find-resources.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import type { Services } from '../services.ts'

const clusterPageSchema = z.object({
  items: z.array(z.object({ name: z.string(), simulated: z.boolean() })),
  next_page_token: z.null(),
})

/** Managed objects, and the clusters that they are in. */
export function resourceRoutes(app: App, services: Services): void {
  app.get(
    '/resources',
    {
      config: { permission: 'resources.read' },
      schema: {
        summary: 'Managed objects, as the workers last knew them',
        querystring: resourceListQuerySchema,
        response: { 200: resourcePageSchema },
      },
    },
    (request) => listResources(services.database, callerOf(request).tenant, request.query),
  )

  app.get(
    '/clusters',
    {
      config: { permission: 'resources.read' },
      schema: { summary: 'Configured clusters', response: { 200: clusterPageSchema } },
    },
    (request) => {
      const { tenant } = callerOf(request)
      const names = services.clusterNames(tenant)
      const items = names.map((name) => ({ name, simulated: services.cluster(tenant, name).simulated }))
      return { items, next_page_token: null }
    },
  )
}
