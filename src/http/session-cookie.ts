import type { FastifyReply, FastifyRequest } from 'fastify'

// Over https the browser itself refuses a cookie of this prefix that another host, or plain http, tries to set.
const secureName = '__Host-sluice_session'
const plainName = 'sluice_session'

/** The browser's session: over https, and where both cookies are there, the one that nobody else can have set. */
export function readSessionId(request: FastifyRequest): string | undefined {
  const plain = request.protocol === 'https' ? undefined : request.cookies[plainName]
  const id = request.cookies[secureName] ?? plain
  return id === '' ? undefined : id
}

export function setSessionCookie(
  reply: FastifyReply,
  session: { readonly id: string; readonly expiresAt: Date },
  { secure }: { readonly secure: boolean },
): void {
  void reply.setCookie(secure ? secureName : plainName, session.id, {
    path: '/',
    httpOnly: true,
    sameSite: 'strict',
    secure,
    expires: session.expiresAt,
  })
}

export function clearSessionCookie(request: FastifyRequest, reply: FastifyReply): void {
  if (request.cookies[secureName] !== undefined) void reply.clearCookie(secureName, { path: '/', secure: true })
  if (request.cookies[plainName] !== undefined) void reply.clearCookie(plainName, { path: '/' })
}

/** As the browser sees it, also behind a proxy: its Origin, which has been compared with the host, says so. */
export function isHttps(request: FastifyRequest): boolean {
  return request.protocol === 'https' || request.headers.origin?.startsWith('https://') === true
}
