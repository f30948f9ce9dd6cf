import type { FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { Problem } from '../contract/problem.ts'
import { withSource } from '../database/request-source.ts'
import { createDeniedAttempts } from '../identity/denied-attempts.ts'
import { callerIfKnown } from './authenticate.ts'
import { isSafeMethod } from './safe-methods.ts'
import type { Services } from './services.ts'
import { addressOf, sourceOf } from './source-of.ts'

/** How long the same refusal of the same address is told once. */
const dampenMs = 60_000

/**
 * Records who was refused. What somebody known may not change (by their role, by the policy, because it is their own) is
 * a row of their tenant's log; who was not let in belongs to no tenant, and is a line for the operator.
 */
export function createDenialRecorder(services: Pick<Services, 'database' | 'logger'>) {
  const denied = createDeniedAttempts(services)
  const told = new LRUCache<string, true>({ max: 10_000, ttl: dampenMs })
  return async (request: FastifyRequest, { status, code, detail }: Problem): Promise<void> => {
    if (status !== 401 && status !== 403) return
    const caller = callerIfKnown(request)
    const route = request.routeOptions.url ?? ''
    if (!caller) {
      const address = addressOf(request)
      const key = `${address} ${code}`
      if (told.has(key)) return
      told.set(key, true)
      services.logger.warn('somebody was not let in', { address, method: request.method, route, code })
      return
    }
    if (isSafeMethod(request.method)) return
    const attempt = { tenant: caller.tenant, actor: caller.principal.name, method: request.method, route, code, detail }
    await withSource(sourceOf(request), () => denied.note(attempt))
  }
}
