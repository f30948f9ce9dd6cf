import type { FastifyRequest } from 'fastify'
import { callerIn } from '../identity/caller.ts'
import { authenticatedAt, callerOf, knownOf } from './authenticate.ts'
import { permissionOf } from './authorise.ts'
import { HttpProblem } from './problems.ts'
import type { Services } from './services.ts'

/** Together with the two seconds for which an answer is remembered: a lost right ends an open connection within 5 s. */
const checkMs = 2_000

/** Whether the caller of an open request still is who it was, and still may do what the route asks. */
async function hasAccess({ identity }: Services, request: FastifyRequest): Promise<boolean> {
  const known = await identity.refresh(knownOf(request))
  const permission = permissionOf(request)
  return (
    known !== undefined &&
    permission !== 'public' &&
    callerIn(known, callerOf(request).tenant).permissions.has(permission)
  )
}

/**
 * Asks again and again while a connection is open, and calls `onLost` once when its token was revoked or has expired, its
 * session has ended or its role was taken. A database that does not answer takes nothing away. Returns how to stop.
 */
export function watchAccess(services: Services, request: FastifyRequest, onLost: () => void): () => void {
  let asking = false
  const timer = setInterval(() => {
    if (asking) return
    asking = true
    hasAccess(services, request)
      .then((holds) => {
        if (holds) return
        clearInterval(timer)
        onLost()
      })
      .catch((error: unknown) =>
        services.logger.warn('an open connection could not be checked; asking again', { error }),
      )
      .finally(() => (asking = false))
  }, checkMs)
  return () => clearInterval(timer)
}

/** What was asked a while ago is answered only to whom it may still be told: long polls outlive a revocation otherwise. */
export async function recheckLateAnswer(services: Services, request: FastifyRequest): Promise<void> {
  const since = authenticatedAt(request)
  if (request.method !== 'GET' || since === undefined || performance.now() - since < checkMs) return
  if (await hasAccess(services, request)) return
  throw new HttpProblem('unauthenticated', {
    detail: 'The token, pass or session was revoked while the request waited.',
  })
}
