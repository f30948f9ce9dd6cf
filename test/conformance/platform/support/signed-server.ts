import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import {
  createSignedObjectHandler,
  type SignedObjectHandlerOptions,
} from '../../../../src/platform/signed-object-url.ts'

export interface ReservedPort {
  readonly baseUrl: string
  /** Begins to answer requests. Resolves how to stop. */
  readonly listen: (answer: (request: Request) => Promise<Response>) => () => Promise<void>
}

/** An HTTP server whose address is known before what it serves. */
export async function reservePort(): Promise<ReservedPort> {
  let answer: (request: Request) => Promise<Response> = async () => new Response('not ready', { status: 503 })
  const server = createServer((incoming, outgoing) => {
    reply(incoming, outgoing, answer).catch((error: unknown) =>
      outgoing.destroy(error instanceof Error ? error : undefined),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = originOf(server)
  return {
    baseUrl: `${origin}/files`,
    listen: (handler) => {
      answer = handler
      return async () => {
        server.closeAllConnections()
        server.close()
        await once(server, 'close')
      }
    },
  }
}

export async function serveSigned(listen: ReservedPort['listen'], options: SignedObjectHandlerOptions) {
  return listen(createSignedObjectHandler(options))
}

function originOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `http://127.0.0.1:${address.port}`
}

async function reply(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: (request: Request) => Promise<Response>,
): Promise<void> {
  const { method = 'GET', headers, url = '/' } = incoming
  const hasBody = method !== 'GET' && method !== 'HEAD'
  const request = new Request(`http://${headers.host}${url}`, {
    method,
    headers: new Headers(Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])),
    // Node's and the platform's types of a web stream differ in name only.
    ...(hasBody && { body: Readable.toWeb(incoming) as ReadableStream, duplex: 'half' }),
  })
  const response = await answer(request)
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  for await (const chunk of response.body ?? []) outgoing.write(chunk)
  outgoing.end()
}
