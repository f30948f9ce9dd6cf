import { z } from 'zod'
import type { App } from '../app.ts'
import type { Services } from '../services.ts'

/** `/healthz`: the process answers. `/readyz`: it can serve, or says why not. */
export function healthRoutes(app: App, services: Services): void {
  app.get('/healthz', { schema: { hide: true } }, () => ({ status: 'ok' }))
  app.get(
    '/readyz',
    {
      schema: {
        hide: true,
        response: {
          200: z.object({ status: z.literal('ready') }),
          503: z.object({ status: z.literal('not ready'), reasons: z.array(z.string()) }),
        },
      },
    },
    async (_request, reply) => {
      const reasons = await services.notReady()
      if (reasons.length === 0) return reply.send({ status: 'ready' })
      return reply
        .status(503)
        .header('retry-after', '2')
        .send({ status: 'not ready', reasons: [...reasons] })
    },
  )
}
