import type { FastifyRequest } from 'fastify'
import { isDeepStrictEqual } from 'node:util'
import { callerIn } from '../identity/caller.ts'
import type { Caller } from '../identity/principal.ts'
import { authenticatedAt, callerOf, knownOf } from './authenticate.ts'
import { permissionOf } from './authorise.ts'
import { HttpProblem } from './problems.ts'
import type { Services } from './services.ts'

/** Together with the two seconds for which an answer is remembered: a lost right ends an open connection within 5 s. */
const checkMs = 2_000

/** The caller of an open request as it is now; undefined once it may not do any more what the route asks. */
async function currentCaller({ identity }: Services, request: FastifyRequest): Promise<Caller | undefined> {
  const known = await identity.refresh(knownOf(request))
  const permission = permissionOf(request)
  const caller = known && callerIn(known, callerOf(request).tenant)
  return permission !== 'public' && caller?.permissions.has(permission) === true ? caller : undefined
}

/**
 * Asks again and again while a connection is open, and calls `onLost` once when its token was revoked or has expired, its
 * session has ended or its role was taken; `onChanged`, once, when it may stay and its roles or groups are others than when
 * it came. A database that does not answer takes nothing away. Returns how to stop.
 */
export function watchAccess(
  services: Services,
  request: FastifyRequest,
  onLost: () => void,
  onChanged?: () => void,
): () => void {
  let asking = false
  const timer = setInterval(() => {
    if (asking) return
    asking = true
    currentCaller(services, request)
      .then((caller) => {
        const changed = caller && !isDeepStrictEqual(caller.principal, callerOf(request).principal)
        if (caller && !(changed === true && onChanged)) return
        clearInterval(timer)
        if (caller) onChanged?.()
        else onLost()
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
  if (await currentCaller(services, request)) return
  throw new HttpProblem('unauthenticated', {
    detail: 'The token, pass or session was revoked while the request waited.',
  })
}
