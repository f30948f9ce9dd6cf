import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface ControlPlanes {
  readonly url: string
  stop(): Promise<void>
}

/** One server with several control planes behind base paths: each path leads to an API server of its own. */
export async function startControlPlanes(planes: Readonly<Record<string, string>>): Promise<ControlPlanes> {
  const server = createServer((request, response) => {
    const url = request.url ?? '/'
    const path = Object.keys(planes).find((prefix) => prefix !== '' && url.startsWith(`${prefix}/`)) ?? ''
    const upstream = planes[path]
    if (upstream === undefined) {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ kind: 'Status', code: 404, reason: 'NotFound', message: 'no such control plane' }))
      return
    }
    const { method, headers } = request
    const forward = httpRequest(`${upstream}${url.slice(path.length)}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
      answer.on('error', () => response.destroy())
    })
    forward.on('error', () => response.destroy())
    response.on('close', () => forward.destroy())
    request.pipe(forward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    // A TCP server's address is never a pipe's string.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
