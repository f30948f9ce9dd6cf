import type { FastifyRequest } from 'fastify'

/** Whether the caller has this version already (`If-None-Match`, RFC 9110). */
export function matchesTag(request: FastifyRequest, etag: string): boolean {
  const header = request.headers['if-none-match']
  return (
    header !== undefined &&
    header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag || tag.trim() === '*')
  )
}
