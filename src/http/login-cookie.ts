import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'

const secureName = '__Host-sluice_login'
const plainName = 'sluice_login'
const lifetimeSeconds = 600

const loginSchema = z.object({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  /** Hash of the session that the login takes the place of: the session's own cookie does not come along from elsewhere. */
  previous: z.string().optional(),
})
export type PendingLogin = z.infer<typeof loginSchema>

/** What the browser keeps while its person is at the provider. `lax`: it comes back from there, as no `strict` one would. */
export function setLoginCookie(reply: FastifyReply, login: PendingLogin, { secure }: { readonly secure: boolean }) {
  const value = Buffer.from(JSON.stringify(login)).toString('base64url')
  const options = { path: '/', httpOnly: true, sameSite: 'lax', secure, maxAge: lifetimeSeconds } as const
  void reply.setCookie(secure ? secureName : plainName, value, options)
}

/** Takes it away with the answer: a login is completed once. */
export function takeLoginCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  { secure }: { readonly secure: boolean },
): PendingLogin | undefined {
  const name = secure ? secureName : plainName
  const value = request.cookies[name]
  if (value === undefined) return undefined
  void reply.clearCookie(name, { path: '/', secure })
  try {
    return loginSchema.parse(JSON.parse(Buffer.from(value, 'base64url').toString()))
  } catch {
    return undefined
  }
}

export const sessionHash = (id: string): string => createHash('sha256').update(id).digest('base64url')
