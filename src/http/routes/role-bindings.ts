import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { roleBindingPageSchema, roleBindingRequestSchema, roleBindingSchema } from '../../contract/identity.ts'
import { grantRole, listRoleBindings, withdrawRole } from '../../identity/role-bindings.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

/** Who has which role in the tenant. */
export function roleBindingRoutes(app: App, { database }: Services): void {
  app.get(
    '/role-bindings',
    {
      config: { permission: 'roles.read' },
      schema: {
        summary: 'Who has which role',
        querystring: z.object({
          page_size: z.coerce.number().int().min(1).max(200).default(50),
          page_token: z.string().max(1_024).optional(),
        }),
        response: { 200: roleBindingPageSchema },
      },
    },
    async (request) => {
      const { page_size: pageSize, page_token: pageToken } = request.query
      const page = await listRoleBindings(database, { tenant: callerOf(request).tenant, pageSize, pageToken })
      return { items: page.items, next_page_token: page.nextPageToken }
    },
  )

  app.post(
    '/role-bindings',
    {
      config: { permission: 'roles.write' },
      schema: {
        summary: 'Give a role to a principal or a group; again changes where it holds',
        body: roleBindingRequestSchema,
        response: { 201: roleBindingSchema },
      },
    },
    async (request, reply) => {
      const { tenant, principal: actor } = callerOf(request)
      const binding = await grantRole(database, { ...request.body, tenant, actor: actor.name })
      if (!binding) throw lastAdmin(request.body.principal ?? '')
      return reply.status(201).send(binding)
    },
  )

  const withdraw = async (request: FastifyRequest, bound: { principal: string } | { group: string }, role: string) => {
    const { tenant, principal: actor } = callerOf(request)
    const name = 'group' in bound ? bound.group : bound.principal
    const outcome = await withdrawRole(database, { tenant, ...bound, role, actor: actor.name })
    switch (outcome) {
      case 'withdrawn':
        return
      case 'not_bound':
        throw new HttpProblem('not_found', { detail: `${name} does not have the role ${role} in this tenant.` })
      case 'last_admin':
        throw lastAdmin(name)
    }
  }
  app.delete(
    '/role-bindings/:principal/:role',
    {
      config: { permission: 'roles.write' },
      schema: {
        summary: 'Take a principal’s role; it is gone everywhere within 5 s',
        params: z.object({ principal: z.string(), role: z.string() }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { principal, role } = request.params
      await withdraw(request, { principal }, role)
      return reply.status(204).send(null)
    },
  )
  app.delete(
    '/role-bindings/groups/:group/:role',
    {
      config: { permission: 'roles.write' },
      schema: {
        summary: 'Take a group’s role; it is gone everywhere within 5 s',
        params: z.object({ group: z.string(), role: z.string() }),
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { group, role } = request.params
      await withdraw(request, { group }, role)
      return reply.status(204).send(null)
    },
  )
}

function lastAdmin(name: string): HttpProblem {
  const detail = `${name} is the last admin of the whole tenant. Make somebody else admin first.`
  return new HttpProblem('last_admin', { detail })
}
