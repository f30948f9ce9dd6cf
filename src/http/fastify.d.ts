import 'fastify'
import type { RoutePermission } from './authorise.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the caller must be allowed to; `public` needs no credential. A route below the base path without it fails at boot. */
    readonly permission?: RoutePermission
  }
}
