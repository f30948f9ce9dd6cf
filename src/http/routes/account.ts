import { z } from 'zod'
import {
  type Me,
  meSchema,
  sessionCodeSchema,
  sessionRequestSchema,
  signedOutSchema,
  signInOptionsSchema,
} from '../../contract/session.ts'
import { withSource } from '../../database/request-source.ts'
import { callerIn } from '../../identity/caller.ts'
import { noteSession } from '../../identity/note-session.ts'
import type { Caller } from '../../identity/principal.ts'
import type { App } from '../app.ts'
import { callerOf, knownOf, refuseCrossOrigin } from '../authenticate.ts'
import { csrfTokenOf } from '../csrf.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'
import { sourceBy } from '../source-of.ts'
import { providerLogout } from './login.ts'
import { clearSessionCookie, isHttps, readSessionId, setSessionCookie } from '../session-cookie.ts'

/** Who the caller is, and the browser's session. */
export function accountRoutes(app: App, services: Services): void {
  const { database, identity } = services
  app.get(
    '/me',
    {
      config: { permission: 'self' },
      schema: { summary: 'Who you are, and what you may do', response: { 200: meSchema } },
    },
    (request, reply) => {
      void reply.header('cache-control', 'no-store')
      const sessionId = knownOf(request).source.kind === 'session' ? readSessionId(request) : undefined
      return toMe(callerOf(request), sessionId)
    },
  )

  app.get(
    '/session/options',
    {
      config: { permission: 'public' },
      schema: { summary: 'How a browser may sign in', response: { 200: signInOptionsSchema } },
    },
    () => ({ login_url: services.login ? '/login' : null }),
  )

  app.post(
    '/session',
    {
      config: { permission: 'public' },
      schema: {
        summary: 'Exchange a one-time code for a session cookie',
        body: sessionRequestSchema,
        response: { 200: meSchema },
      },
    },
    async (request, reply) => {
      refuseCrossOrigin(request)
      const session = await identity.openSession(request.body.code, readSessionId(request))
      const tenant = session?.known.grants[0]?.tenant
      if (!session || tenant === undefined) {
        const detail = 'The code is unknown, used or expired. Start Sluice again, or ask for a new link.'
        throw new HttpProblem('unauthenticated', { detail })
      }
      await withSource(sourceBy(request, session.known), () => noteSession(database, 'session.opened', session.known))
      setSessionCookie(reply, session, { secure: isHttps(request) })
      void reply.header('cache-control', 'no-store')
      return toMe(callerIn(session.known, tenant), session.id)
    },
  )

  app.delete(
    '/session',
    { config: { permission: 'self' }, schema: { summary: 'Sign out', response: { 200: signedOutSchema } } },
    async (request, reply) => {
      const id = readSessionId(request)
      // Only who came from there has a session there.
      const fromProvider = knownOf(request).groups !== undefined
      if (id !== undefined) {
        await identity.closeSession(id)
        await noteSession(database, 'session.closed', knownOf(request))
      }
      clearSessionCookie(request, reply)
      return { logout_url: fromProvider ? await providerLogout(services) : null }
    },
  )

  app.post(
    '/session/codes',
    {
      config: { permission: 'self' },
      schema: { summary: 'A one-time link into the console', response: { 200: sessionCodeSchema } },
    },
    async (request) => {
      const { secret, expiresAt } = await identity.issueCode(knownOf(request))
      await noteSession(database, 'session.code_issued', knownOf(request))
      const url = `${request.protocol}://${request.host}/?code=${secret}`
      return { code: secret, url, expires_at: expiresAt.toISOString() }
    },
  )

  app.post(
    '/live/passes',
    {
      config: { permission: 'self' },
      schema: {
        summary: 'A one-minute pass for one live connection',
        response: { 200: z.object({ pass: z.string(), expires_at: z.string() }) },
      },
    },
    async (request) => {
      const { secret, expiresAt } = await identity.issuePass(knownOf(request))
      return { pass: secret, expires_at: expiresAt.toISOString() }
    },
  )
}

function toMe({ principal, tenant, permissions }: Caller, sessionId: string | undefined): Me {
  return {
    principal: principal.name,
    tenant,
    tenants: [...principal.tenants],
    roles: [...principal.roles],
    role_environments: Object.fromEntries(
      Object.entries(principal.limits ?? {}).map(([role, names]) => [role, [...names]]),
    ),
    permissions: [...permissions].sort(),
    csrf_token: sessionId === undefined ? null : csrfTokenOf(sessionId),
  }
}
