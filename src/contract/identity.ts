import { z } from 'zod'

/** What a principal may be in a tenant. One principal may have several roles, in several tenants. */
export const roles = ['viewer', 'requester', 'operator', 'approver', 'admin'] as const
export const roleSchema = z.enum(roles)
export type Role = z.infer<typeof roleSchema>

/**
 * What a route asks of its caller. `self` is everybody's who is known: who am I, my session.
 * `tasks.cancel` and `schedules.write` reach what one asked for oneself; `tasks.operate` and `schedules.operate` reach
 * everybody's. `platform.operate` reaches every tenant: who has it acts in the platform's tenant.
 */
export const permissions = [
  'self',
  'tasks.read',
  'tasks.request',
  'tasks.cancel',
  'tasks.operate',
  'operations.read',
  'resources.read',
  'clusters.write',
  'approvals.read',
  'approvals.decide',
  'policies.read',
  'notifications.read',
  'notifications.write',
  'schedules.read',
  'schedules.write',
  'schedules.operate',
  'queues.read',
  'queues.operate',
  'webhooks.read',
  'webhooks.write',
  'audit.read',
  'tokens.read',
  'tokens.write',
  'roles.read',
  'roles.write',
  'platform.operate',
] as const
export const permissionSchema = z.enum(permissions)
export type Permission = z.infer<typeof permissionSchema>

const principalSchema = z
  .string()
  .regex(/^[\w.@+-]{1,128}$/, 'is 1 to 128 letters, digits and . _ @ + -')
  .describe('The name of a person or a machine')

/** `POST /tokens` */
export const tokenRequestSchema = z.strictObject({
  name: z.string().trim().min(1).max(100).describe('What it is for'),
  principal: principalSchema.optional().describe('Whose token; without it, your own. Only an admin names another'),
  scopes: z.array(permissionSchema).min(1).optional().describe('Without it, all that the principal’s roles allow'),
  expires_in_days: z.int().min(1).max(3650).optional().describe('Without it, the token lives until it is revoked'),
})
export type TokenRequest = z.input<typeof tokenRequestSchema>

export const tokenSchema = z.object({
  token_id: z.string(),
  name: z.string(),
  principal: z.string(),
  prefix: z.string().describe('The token’s first characters'),
  scopes: z.array(z.string()).nullable(),
  created_by: z.string(),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  last_used_at: z.string().nullable().describe('To the minute'),
  revoked_at: z.string().nullable(),
})
export type ApiToken = z.infer<typeof tokenSchema>

/** The only answer that ever holds the token itself. */
export const createdTokenSchema = tokenSchema.extend({ token: z.string() })
export type CreatedToken = z.infer<typeof createdTokenSchema>

export const tokenPageSchema = z.object({ items: z.array(tokenSchema), next_page_token: z.string().nullable() })
export type TokenPage = z.infer<typeof tokenPageSchema>

const groupSchema = z
  .string()
  // Printable: what providers call groups has spaces, slashes and colons.
  .regex(/^[^\p{C}]{1,128}$/u, 'is 1 to 128 printable characters')
  .describe('A group, as the identity provider names it')

const environmentSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'is an environment of the policy: lower-case letters, digits and -')

/** `POST /role-bindings` */
export const roleBindingRequestSchema = z
  .strictObject({
    principal: principalSchema.optional(),
    group: groupSchema.optional(),
    role: roleSchema,
    environments: z
      .array(environmentSchema)
      .min(1)
      .max(100)
      .optional()
      .describe('Where the role holds, by the policy’s names; without it, everywhere'),
  })
  .refine(({ principal, group }) => (principal === undefined) !== (group === undefined), {
    message: 'needs a principal or a group',
    path: ['principal'],
  })
export type RoleBindingRequest = z.input<typeof roleBindingRequestSchema>

export const roleBindingSchema = z.object({
  principal: z.string().nullable(),
  group: z.string().nullable().default(null).describe('Whoever the identity provider says is in it'),
  role: roleSchema,
  environments: z.array(z.string()).nullable().default(null).describe('Where the role holds; null: everywhere'),
  granted_by: z.string(),
  granted_at: z.string(),
})
export type RoleBinding = z.infer<typeof roleBindingSchema>

export const roleBindingPageSchema = z.object({
  items: z.array(roleBindingSchema),
  next_page_token: z.string().nullable(),
})
export type RoleBindingPage = z.infer<typeof roleBindingPageSchema>

export function isPrincipalName(text: string): boolean {
  return principalSchema.safeParse(text).success
}
