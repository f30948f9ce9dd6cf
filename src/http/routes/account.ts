import { z } from 'zod'
import { meSchema, sessionCodeSchema, sessionRequestSchema } from '../../contract/session.ts'
import type { App } from '../app.ts'
import { callerOf, refuseCrossOrigin, sessionCookie } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

/** Who the caller is, and the browser's session. */
export function accountRoutes(app: App, { identity }: Services): void {
  app.get('/me', { schema: { summary: 'Who you are', response: { 200: meSchema } } }, (request) => {
    const { principal, tenant } = callerOf(request)
    return { principal: principal.name, tenant, tenants: [...principal.tenants], roles: [...principal.roles] }
  })

  app.post(
    '/session',
    {
      config: { public: true },
      schema: {
        summary: 'Exchange a one-time code for a session cookie',
        body: sessionRequestSchema,
        response: { 200: meSchema },
      },
    },
    async (request, reply) => {
      refuseCrossOrigin(request)
      const session = await identity.openSession(request.body.code)
      if (!session) {
        const detail = 'The code is unknown, used or expired. Start Sluice again, or ask for a new link.'
        throw new HttpProblem('unauthenticated', { detail })
      }
      const { principal } = session
      void reply.setCookie(sessionCookie, session.id, {
        path: '/',
        httpOnly: true,
        sameSite: 'strict',
        expires: session.expiresAt,
      })
      const [tenant] = principal.tenants
      return { principal: principal.name, tenant, tenants: [...principal.tenants], roles: [...principal.roles] }
    },
  )

  app.delete('/session', { schema: { summary: 'Sign out', response: { 204: z.null() } } }, async (request, reply) => {
    const id = request.cookies[sessionCookie]
    if (id !== undefined) await identity.closeSession(id)
    return reply.clearCookie(sessionCookie, { path: '/' }).status(204).send(null)
  })

  app.post(
    '/session/codes',
    { schema: { summary: 'A one-time link into the console', response: { 200: sessionCodeSchema } } },
    async (request) => {
      const { secret, expiresAt } = await identity.issueCode(callerOf(request).principal)
      const url = `${request.protocol}://${request.host}/?code=${secret}`
      return { code: secret, url, expires_at: expiresAt.toISOString() }
    },
  )

  app.post(
    '/live/passes',
    {
      schema: {
        summary: 'A one-minute pass for one live connection',
        response: { 200: z.object({ pass: z.string(), expires_at: z.string() }) },
      },
    },
    async (request) => {
      const { secret, expiresAt } = await identity.issuePass(callerOf(request).principal)
      return { pass: secret, expires_at: expiresAt.toISOString() }
    },
  )
}
