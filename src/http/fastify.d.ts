import 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Served without a token. Every other route below the base path needs one. */
    readonly public?: boolean
  }
}
