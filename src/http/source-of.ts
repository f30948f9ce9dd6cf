import type { FastifyRequest } from 'fastify'
import { toWireId } from '../contract/ids.ts'
import type { RequestSource } from '../database/request-source.ts'
import type { Known } from '../identity/principal.ts'
import { knownOf } from './authenticate.ts'
import { HttpProblem } from './problems.ts'
import { traceIdOf } from './trace-requests.ts'

/** Where an authenticated request comes from, for the audit. */
export function sourceOf(request: FastifyRequest): RequestSource {
  return sourceBy(request, knownOf(request))
}

/** The same of a request whose body holds the credential. */
export function sourceBy(request: FastifyRequest, { source }: Known): RequestSource {
  const tokenId = source.kind === 'token' || source.kind === 'session' ? source.tokenId : undefined
  const reason = readReason(request)
  return {
    address: addressOf(request),
    via: source.kind,
    ...(tokenId !== undefined && { token_id: toWireId('token', tokenId) }),
    trace_id: traceIdOf(request),
    ...(reason !== undefined && reason !== '' && { reason }),
  }
}

/** Node writes the IPv4 address of a dual-stack socket as an IPv6 one. */
export const addressOf = (request: FastifyRequest): string => request.ip.replace(/^::ffff:(?=\d+\.)/, '')

const maxReason = 500

export function refuseBadReason(request: FastifyRequest): void {
  if (request.headers['sluice-reason'] === undefined || readReason(request) !== undefined) return
  throw new HttpProblem('malformed_request', {
    detail: `Sluice-Reason must be one line of at most ${maxReason} characters; what is not ASCII is percent-encoded UTF-8.`,
  })
}

/** `Sluice-Reason`: why, in the caller's words. Headers are ASCII: anything else comes percent-encoded. */
function readReason(request: FastifyRequest): string | undefined {
  const header = request.headers['sluice-reason']
  if (typeof header !== 'string') return undefined
  try {
    const reason = decodeURIComponent(header).trim()
    return reason.length <= maxReason && !/\p{Cc}/u.test(reason) ? reason : undefined
  } catch {
    return undefined
  }
}
