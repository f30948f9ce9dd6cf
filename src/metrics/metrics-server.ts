import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Logger } from '../platform/logger.ts'

export interface MetricsServerOptions {
  /** Whoever reaches it may read it: the machine itself, unless a network of its own keeps others away. @default '127.0.0.1' */
  readonly host?: string | undefined
  /** 0 takes a free one. */
  readonly port: number
  readonly logger: Logger
  read(): Promise<string>
}

export interface MetricsServer {
  readonly url: string
  stop(): Promise<void>
}

/**
 * Answers `GET /metrics` on an address of its own: the figures are of all tenants, so that none of the API's callers, who
 * are of one, may see them. @throws what `listen` throws
 */
export async function startMetricsServer(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host = '127.0.0.1', port, logger, read } = options
  const server = createServer((request, response) => {
    const [path] = (request.url ?? '').split('?')
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('GET /metrics\n')
      return
    }
    read().then(
      (text) =>
        response
          .writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' })
          .end(request.method === 'HEAD' ? undefined : text),
      (error: unknown) => {
        logger.warn('metrics could not be read', { error })
        response.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' }).end('unavailable\n')
      },
    )
  })
  server.listen(port, host)
  await once(server, 'listening')
  const address = server.address()
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    url: `http://${shown}:${address !== null && typeof address === 'object' ? address.port : port}/metrics`,
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
