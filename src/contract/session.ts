import { z } from 'zod'

/** `POST /session`: a one-time code (from the printed link) for an HttpOnly cookie. A code works once. */
export const sessionRequestSchema = z.strictObject({ code: z.string().min(1).max(255) })

/** `GET /session/options`: how a browser may sign in. */
export const signInOptionsSchema = z.object({
  login_url: z.string().nullable().describe('Leads to the identity provider, where one is configured'),
})
export type SignInOptions = z.infer<typeof signInOptionsSchema>

/** `DELETE /session` */
export const signedOutSchema = z.object({
  logout_url: z.string().nullable().describe('Where the session at the identity provider ends, too'),
})
export type SignedOut = z.infer<typeof signedOutSchema>

/** Why a login at the identity provider did not open a session: the console is told as `/?login=…`. */
export const loginFailures = ['denied', 'failed', 'stale', 'no_role', 'unreachable'] as const
export type LoginFailure = (typeof loginFailures)[number]

/** `GET /me`: who the caller is. */
export const meSchema = z.object({
  principal: z.string(),
  tenant: z.string(),
  tenants: z.array(z.string()),
  roles: z.array(z.string()).describe('In this tenant'),
  role_environments: z
    .record(z.string(), z.array(z.string()))
    .default({})
    .describe('Where a role holds, of those that do not hold everywhere'),
  permissions: z.array(z.string()).default([]).describe('What the roles, and the token’s scopes, allow'),
  csrf_token: z
    .string()
    .nullable()
    .default(null)
    .describe('In a browser’s session: goes with every change as the header Sluice-CSRF'),
})
export type Me = z.infer<typeof meSchema>

/** `POST /session/codes`: a new one-time link into the console for the caller, as the started process printed it. */
export const sessionCodeSchema = z.object({
  code: z.string(),
  url: z.string().describe('The console, with the code'),
  expires_at: z.string(),
})
export type SessionCode = z.infer<typeof sessionCodeSchema>

/** `POST /live/passes`: opens one live connection (`GET /live?pass=…`) within a minute. */
export const livePassSchema = z.object({ pass: z.string(), expires_at: z.string() })
