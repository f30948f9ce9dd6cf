import { z } from 'zod'
import { createdTokenSchema, tokenPageSchema, tokenRequestSchema } from '../../contract/identity.ts'
import type { Caller } from '../../identity/principal.ts'
import { createToken, listTokens, revokeToken } from '../../identity/tokens.ts'
import type { App } from '../app.ts'
import { callerOf, knownOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

const dayMs = 86_400_000

/** API tokens: everybody's own, and for an admin everybody's of the tenant. */
export function tokenRoutes(app: App, { database, identity }: Services): void {
  app.post(
    '/tokens',
    {
      config: { permission: 'tokens.write' },
      schema: {
        summary: 'Make an API token; this answer alone shows it',
        body: tokenRequestSchema,
        response: { 201: createdTokenSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { name, principal = caller.principal.name, scopes, expires_in_days: days } = request.body
      refuseOthers(caller, principal)
      if (!(await identity.find(caller.tenant, principal))) throw noRoleByName(principal)
      const { token, shown } = await createToken(database, {
        tenant: caller.tenant,
        actor: caller.principal.name,
        madeBy: caller.principal.madeBy,
        principal,
        name,
        scopes: narrow(caller, scopes ?? knownOf(request).scopes),
        lifetimeMs: days === undefined ? undefined : days * dayMs,
      })
      void reply.header('cache-control', 'no-store')
      return reply.status(201).send({ ...shown, token })
    },
  )

  app.get(
    '/tokens',
    {
      config: { permission: 'tokens.read' },
      schema: {
        summary: 'API tokens, newest first, also those that have ended',
        querystring: z.object({
          page_size: z.coerce.number().int().min(1).max(200).default(50),
          page_token: z.string().optional(),
        }),
        response: { 200: tokenPageSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { page_size: pageSize, page_token: pageToken } = request.query
      const principal = ownerOf(caller)
      const page = await listTokens(database, { tenant: caller.tenant, principal, pageSize, pageToken })
      return { items: page.items, next_page_token: page.nextPageToken }
    },
  )

  app.delete(
    '/tokens/:token_id',
    {
      config: { permission: 'tokens.write' },
      schema: {
        summary: 'Revoke an API token: within 5 s nobody is let in with it any more',
        params: z.object({ token_id: z.string() }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { token_id: tokenId } = request.params
      const { tenant, principal } = caller
      const revoked = await revokeToken(database, { tenant, actor: principal.name, tokenId, owner: ownerOf(caller) })
      if (!revoked) throw new HttpProblem('not_found', { detail: `There is no token ${tokenId}.` })
      return reply.status(204).send(null)
    },
  )
}

// A token has no provider's word for its principal's groups.
function noRoleByName(principal: string): HttpProblem {
  return new HttpProblem('invalid_input', {
    detail: `${principal} has no role by that name here, so that a token would let nobody in: a group's roles come with a login only. Have an admin give ${principal} a role.`,
    errors: [{ pointer: '/principal', message: 'has no role by name' }],
  })
}

// Who gives roles has all of the tenant's tokens in hand; everybody else their own.
function ownerOf({ permissions, principal }: Caller): string | undefined {
  return permissions.has('roles.write') ? undefined : principal.name
}

function refuseOthers(caller: Caller, principal: string): void {
  const owner = ownerOf(caller)
  if (owner === undefined || owner === principal) return
  throw new HttpProblem('forbidden', { detail: `Only an admin may make a token for somebody else (${principal}).` })
}

/** A token that is limited itself makes no token that may do more. */
function narrow({ permissions }: Caller, scopes: readonly string[] | undefined): readonly string[] | undefined {
  if (scopes === undefined) return undefined
  const allowed: ReadonlySet<string> = permissions
  const beyond = scopes.filter((scope) => !allowed.has(scope))
  if (beyond.length === 0) return scopes
  throw new HttpProblem('forbidden', {
    detail: `You may not give what you do not have: ${beyond.join(', ')}.`,
    errors: [{ pointer: '/scopes', message: 'goes beyond what you may do' }],
  })
}
