import type { FastifyRequest } from 'fastify'
import { isTenantId } from '../database/database.ts'
import type { Credential, Identity, Principal } from '../identity/principal.ts'
import { HttpProblem } from './problems.ts'

export const sessionCookie = 'sluice_session'

/** Who asks, and in which tenant. */
export interface Caller {
  readonly principal: Principal
  readonly tenant: string
}

const callers = new WeakMap<FastifyRequest, Caller>()

/** The caller of an authenticated route. */
export function callerOf(request: FastifyRequest): Caller {
  const caller = callers.get(request)
  if (!caller) throw new Error(`${request.method} ${request.url} asked for its caller and is a public route`)
  return caller
}

/** Proves who the request comes from, or answers 401; then in which tenant, or 400 and 404. */
export async function authenticate(identity: Identity, request: FastifyRequest): Promise<void> {
  const credential = readCredential(request)
  const principal = credential && (await identity.authenticate(credential))
  if (!principal) {
    throw new HttpProblem('unauthenticated', {
      detail: credential
        ? 'The token, pass or session is unknown, expired or revoked.'
        : 'Send "Authorization: Bearer <token>", or open the console from a fresh link.',
    })
  }
  if (credential.kind === 'session') refuseCrossOrigin(request)
  callers.set(request, { principal, tenant: chooseTenant(principal, request) })
}

function readCredential(request: FastifyRequest): Credential | undefined {
  const bearer = /^Bearer ([\w.~+/=-]{1,4096})$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return { kind: 'bearer', token: bearer }
  if (request.headers.authorization !== undefined) return undefined
  const pass = readPass(request)
  if (pass !== undefined) return { kind: 'pass', pass }
  const id = request.cookies[sessionCookie]
  return id === undefined || id === '' ? undefined : { kind: 'session', id }
}

// A pass is good for one live connection only, so that it may stand where a URL is logged.
function readPass(request: FastifyRequest): string | undefined {
  const { query, routeOptions } = request
  if (routeOptions.url !== '/api/v1/live' || typeof query !== 'object' || query === null) return undefined
  return 'pass' in query && typeof query.pass === 'string' ? query.pass : undefined
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * A browser sends its cookie along with whatever any page asks for: a change, or a live connection, must come from
 * our own page. Browsers send Origin with every such request.
 */
export function refuseCrossOrigin(request: FastifyRequest): void {
  const isUpgrade = request.headers.upgrade !== undefined
  if (safeMethods.has(request.method) && !isUpgrade) return
  const { origin, host } = request.headers
  if (origin !== undefined && host !== undefined && originHost(origin) === host) return
  throw new HttpProblem('cross_origin', {
    detail:
      'A change made with the session cookie must come from the console itself (Origin). Use a bearer token elsewhere.',
  })
}

function originHost(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined
}

function chooseTenant(principal: Principal, request: FastifyRequest): string {
  const asked = request.headers['sluice-tenant']
  if (asked === undefined) {
    if (principal.tenants.length === 1) return principal.tenants[0]
    throw new HttpProblem('tenant_required', {
      detail: `You belong to several tenants; say which in the header Sluice-Tenant: ${principal.tenants.join(', ')}.`,
    })
  }
  if (typeof asked === 'string' && isTenantId(asked) && principal.tenants.includes(asked)) return asked
  // The same answer whether it exists or not.
  throw new HttpProblem('not_found', { detail: `There is no tenant ${String(asked)} that you belong to.` })
}
