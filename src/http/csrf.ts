import { createHmac, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { HttpProblem } from './problems.ts'
import { isSafeMethod } from './safe-methods.ts'

/** Where the token travels. A page of another origin can neither read it nor send this header. */
const csrfHeader = 'sluice-csrf'

/**
 * The token of a session: follows from its id, which only the browser and we know, and says nothing about it. A new
 * session has a new one, and nothing has to be kept.
 */
export function csrfTokenOf(sessionId: string): string {
  return createHmac('sha256', sessionId).update('sluice csrf').digest('base64url')
}

/**
 * A browser sends its cookie along with whatever any page asks for. That the change comes from our own page is said twice:
 * by the browser (Origin), and by the page, which has read this token from an answer that no other page can read.
 */
export function refuseWithoutCsrfToken(request: FastifyRequest, sessionId: string): void {
  if (isSafeMethod(request.method)) return
  const given = request.headers[csrfHeader]
  const expected = Buffer.from(csrfTokenOf(sessionId))
  const shown = Buffer.from(typeof given === 'string' ? given : '')
  if (shown.length === expected.length && timingSafeEqual(shown, expected)) return
  throw new HttpProblem('csrf_refused', {
    detail:
      'A change made with the session cookie needs the header Sluice-CSRF, with the csrf_token that GET /api/v1/me answers in this session.',
  })
}
