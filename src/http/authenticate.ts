import type { FastifyRequest } from 'fastify'
import { isTenantId } from '../database/database.ts'
import { callerIn, tenantsOf } from '../identity/caller.ts'
import type { Caller, Credential, Identity, Known } from '../identity/principal.ts'
import { refuseWithoutCsrfToken } from './csrf.ts'
import { isSafeMethod } from './safe-methods.ts'
import { HttpProblem } from './problems.ts'
import { readSessionId } from './session-cookie.ts'

interface Authenticated {
  readonly known: Known
  readonly caller: Caller
  readonly at: number
}

const authenticated = new WeakMap<FastifyRequest, Authenticated>()

/** The caller of an authenticated route. */
export function callerOf(request: FastifyRequest): Caller {
  return find(request).caller
}

/** What the caller's credential stands and falls with. */
export function knownOf(request: FastifyRequest): Known {
  return find(request).known
}

/** When, on `performance.now`'s clock; undefined on a public route. */
export function authenticatedAt(request: FastifyRequest): number | undefined {
  return authenticated.get(request)?.at
}

/** Undefined on a public route, and where nobody was let in. */
export function callerIfKnown(request: FastifyRequest): Caller | undefined {
  return authenticated.get(request)?.caller
}

function find(request: FastifyRequest): Authenticated {
  const found = authenticated.get(request)
  if (!found) throw new Error(`${request.method} ${request.url} asked for its caller and is a public route`)
  return found
}

/** Proves who the request comes from, or answers 401; then in which tenant, or 400 and 404. */
export async function authenticate(identity: Identity, request: FastifyRequest): Promise<Caller> {
  const credential = readCredential(request)
  const known = credential && (await identity.authenticate(credential))
  if (!known) {
    throw new HttpProblem('unauthenticated', {
      detail: credential
        ? 'The token, pass or session is unknown, expired or revoked.'
        : 'Send "Authorization: Bearer <token>", or open the console from a fresh link.',
    })
  }
  if (credential.kind === 'session') {
    refuseCrossOrigin(request)
    refuseWithoutCsrfToken(request, credential.id)
  }
  const caller = callerIn(known, chooseTenant(known, request))
  authenticated.set(request, { known, caller, at: performance.now() })
  return caller
}

function readCredential(request: FastifyRequest): Credential | undefined {
  const bearer = /^Bearer ([\w.~+/=-]{1,8192})$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return { kind: 'bearer', token: bearer }
  if (request.headers.authorization !== undefined) return undefined
  const pass = readPass(request)
  if (pass !== undefined) return { kind: 'pass', pass }
  const id = readSessionId(request)
  return id === undefined ? undefined : { kind: 'session', id }
}

// A pass is good for one live connection only, so that it may stand where a URL is logged.
function readPass(request: FastifyRequest): string | undefined {
  const { query, routeOptions } = request
  if (routeOptions.url !== '/api/v1/live' || typeof query !== 'object' || query === null) return undefined
  return 'pass' in query && typeof query.pass === 'string' ? query.pass : undefined
}

/**
 * A browser sends its cookie along with whatever any page asks for: a change, or a live connection, must come from
 * our own page. Browsers send Origin with every such request.
 */
export function refuseCrossOrigin(request: FastifyRequest): void {
  const isUpgrade = request.headers.upgrade !== undefined
  if (isSafeMethod(request.method) && !isUpgrade) return
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

function chooseTenant(known: Known, request: FastifyRequest): string {
  const tenants = tenantsOf(known)
  const asked = request.headers['sluice-tenant']
  if (asked === undefined) {
    const [only] = tenants
    if (only !== undefined && tenants.length === 1) return only
    throw new HttpProblem('tenant_required', {
      detail: `You belong to several tenants; say which in the header Sluice-Tenant: ${tenants.join(', ')}.`,
    })
  }
  if (typeof asked === 'string' && isTenantId(asked) && tenants.includes(asked)) return asked
  // The same answer whether it exists or not.
  throw new HttpProblem('not_found', { detail: `There is no tenant ${String(asked)} that you belong to.` })
}
