import type { FastifyReply } from 'fastify'
import type { LoginFailure } from '../../contract/session.ts'
import { withSource } from '../../database/request-source.ts'
import { noteSession } from '../../identity/note-session.ts'
import type { App } from '../app.ts'
import { sessionHash, setLoginCookie, takeLoginCookie } from '../login-cookie.ts'
import { isProviderUnreachable } from '../problems.ts'
import type { Services } from '../services.ts'
import { readSessionId, setSessionCookie } from '../session-cookie.ts'
import { sourceBy } from '../source-of.ts'

type Login = NonNullable<Services['login']>

const callbackPath = '/login/callback'

/** The browser's way to the identity provider and back: pages, not API. What goes wrong is told by the console. */
export function loginRoutes(app: App, services: Services): void {
  const { login } = services
  if (!login) return
  const page = { config: { permission: 'public' }, schema: { hide: true } } as const

  app.get('/login', page, async (request, reply) => {
    const secure = isSecure(login)
    try {
      const { url, attempt } = await login.begin(addressOf(login, callbackPath))
      const standing = readSessionId(request)
      setLoginCookie(
        reply,
        { ...attempt, ...(standing !== undefined && { previous: sessionHash(standing) }) },
        { secure },
      )
      return await go(reply, url)
    } catch (error) {
      return failed(services, reply, error)
    }
  })

  app.get(callbackPath, page, async (request, reply) => {
    const secure = isSecure(login)
    const pending = takeLoginCookie(request, reply, { secure })
    // Another browser's answer, one that was used before, or one that took too long.
    if (!pending) return tell(reply, 'stale')
    try {
      const person = await login.complete(new URL(request.url, login.publicUrl()), pending)
      const session = await services.identity.openFederatedSession(person, pending.previous)
      if (!session) return await tell(reply, 'no_role')
      await withSource(sourceBy(request, session.known), () =>
        noteSession(services.database, 'session.opened', session.known),
      )
      setSessionCookie(reply, session, { secure })
      return await go(reply, '/')
    } catch (error) {
      return failed(services, reply, error)
    }
  })
}

/** Where the session at the provider ends, for who has signed out here. Best effort. */
export async function providerLogout({ login, logger }: Services): Promise<string | null> {
  try {
    return (await login?.endAddress(addressOf(login, '/'))) ?? null
  } catch (error) {
    logger.warn('the session at the identity provider goes on', { error })
    return null
  }
}

const addressOf = (login: Login, path: string): string => new URL(path, login.publicUrl()).href

const isSecure = (login: Login): boolean => login.publicUrl().startsWith('https:')

function failed({ logger }: Services, reply: FastifyReply, error: unknown): FastifyReply {
  if (isProviderUnreachable(error)) {
    logger.warn('nobody can sign in: the identity provider does not answer', { error })
    return tell(reply, 'unreachable')
  }
  logger.info('a login was refused', { error })
  return tell(reply, error instanceof Error && 'code' in error && error.code === 'denied' ? 'denied' : 'failed')
}

const tell = (reply: FastifyReply, failure: LoginFailure): FastifyReply => go(reply, `/?login=${failure}`)

function go(reply: FastifyReply, url: string): FastifyReply {
  return reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer').redirect(url, 302)
}
