import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from './clock.ts'
import type { Authentication, Credentials } from './credentials.ts'
import { makeCertificate } from './simulated/certificate.ts'
import { createTransport, type Transport } from './transport.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(resolve).closeAllConnections()))
  // A TCP server's address.
  return (server.address() as AddressInfo).port
}

async function serve(handler: Handler, options: { readonly clock?: Clock; readonly credentials?: Credentials } = {}) {
  const port = await listen(createServer(handler))
  const server = `http://127.0.0.1:${port}`
  return { server, transport: open({ server, ...options }) }
}

function open(options: {
  readonly server: string
  readonly clock?: Clock
  readonly credentials?: Credentials
  readonly authentication?: Partial<Authentication>
  readonly refuse?: 'local' | 'link-local'
}): Transport {
  const { server, clock = systemClock, authentication, refuse } = options
  const fixed: Authentication = { server, headers: {}, tls: {}, proxyUrl: undefined, ...authentication }
  const credentials = options.credentials ?? { current: () => Promise.resolve(fixed) }
  const transport = createTransport({ name: 'test', credentials, clock, refuse })
  closing.push(() => transport.stop())
  return transport
}

const json = (
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string | string[]> = {},
): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

describe('connections', () => {
  test('probe the peer after 4 quiet seconds, and give up within 15', async () => {
    const { server } = await serve((_, response) => json(response, 200, {}))
    const delays: unknown[] = []
    const { Socket: SocketClass } = await import('node:net')
    const original = SocketClass.prototype.setKeepAlive
    SocketClass.prototype.setKeepAlive = function (this: Socket, ...args: unknown[]) {
      delays.push(args)
      // What undici passes on: two arguments that the original takes.
      return original.apply(this, args as [boolean, number])
    }
    try {
      await open({ server }).request({ method: 'GET', path: '/' })
    } finally {
      SocketClass.prototype.setKeepAlive = original
    }
    expect(delays).toContainEqual([true, 4000])
  })

  test('verify the certificate, and name the reason', async () => {
    const { certificate, key } = makeCertificate(['127.0.0.1'], Date.now())
    const port = await listen(
      createTlsServer({ cert: certificate, key }, (_, response) => json(response, 200, { ok: true })),
    )
    const server = `https://127.0.0.1:${port}`
    await expect(open({ server }).request({ method: 'GET', path: '/' })).rejects.toThrow(/self-signed certificate/)
    const trusting = open({ server, authentication: { tls: { ca: certificate } } })
    await expect(trusting.request({ method: 'GET', path: '/' })).resolves.toMatchObject({ body: { ok: true } })
    const otherName = makeCertificate(['k8s.example.com'], Date.now())
    const otherPort = await listen(
      createTlsServer({ cert: otherName.certificate, key: otherName.key }, (_, response) => json(response, 200, {})),
    )
    const authentication = { tls: { ca: otherName.certificate } }
    const elsewhere = open({ server: `https://127.0.0.1:${otherPort}`, authentication })
    await expect(elsewhere.request({ method: 'GET', path: '/' })).rejects.toThrow(/altnames/)
    const named = open({
      server: `https://127.0.0.1:${otherPort}`,
      authentication: { tls: { ca: otherName.certificate, servername: 'k8s.example.com' } },
    })
    await expect(named.request({ method: 'GET', path: '/' })).resolves.toMatchObject({ status: 200 })
  })

  test('speak HTTP/1.1 also where HTTP/2 is offered', async () => {
    const { certificate, key } = makeCertificate(['127.0.0.1'], Date.now())
    const tlsServer = createTlsServer(
      { cert: certificate, key, ALPNProtocols: ['h2', 'http/1.1'] },
      (request, response) => json(response, 200, { version: request.httpVersion }),
    )
    const server = `https://127.0.0.1:${await listen(tlsServer)}`
    const transport = open({ server, authentication: { tls: { ca: certificate } } })
    await expect(transport.request({ method: 'GET', path: '/' })).resolves.toMatchObject({ body: { version: '1.1' } })
  })

  test('go through an HTTP proxy where the kubeconfig names one', async () => {
    const { certificate, key } = makeCertificate(['127.0.0.1'], Date.now())
    const port = await listen(
      createTlsServer({ cert: certificate, key }, (_, response) => json(response, 200, { ok: true })),
    )
    const tunnels: (string | undefined)[] = []
    const proxy = createServer()
    proxy.on('connect', (request, socket: Socket) => {
      tunnels.push(request.url)
      const upstream = connect(port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
        upstream.pipe(socket)
        socket.pipe(upstream)
      })
      socket.on('error', () => upstream.destroy())
      upstream.on('error', () => socket.destroy())
    })
    const proxyUrl = `http://127.0.0.1:${await listen(proxy)}`
    const server = `https://127.0.0.1:${port}`
    const transport = open({ server, authentication: { tls: { ca: certificate }, proxyUrl } })
    await expect(transport.request({ method: 'GET', path: '/' })).resolves.toMatchObject({ body: { ok: true } })
    expect(tunnels).toEqual([`127.0.0.1:${port}`])
    const socks = open({ server, authentication: { proxyUrl: 'socks5://127.0.0.1:1' } })
    await expect(socks.request({ method: 'GET', path: '/' })).rejects.toMatchObject({ code: 'cluster_configuration' })
  })

  test('refuse this machine where users name the endpoint, whatever its name resolves to', async () => {
    const { server } = await serve((_, response) => json(response, 200, {}))
    const { port } = new URL(server)
    for (const host of ['localhost', '127.0.0.1', '[::1]', '[::ffff:127.0.0.1]']) {
      const transport = open({ server: `http://${host}:${port}`, refuse: 'local' })
      await expect(transport.request({ method: 'GET', path: '/' })).rejects.toThrow(/refused/)
    }
  })

  test('for a developer it takes this machine, and still refuses where clouds keep metadata', async () => {
    const { server } = await serve((_, response) => json(response, 200, {}))
    const near = open({ server, refuse: 'link-local' })
    await expect(near.request({ method: 'GET', path: '/' })).resolves.toMatchObject({ status: 200 })
    for (const host of ['169.254.169.254', '[fe80::1]', '[::ffff:169.254.169.254]', 'metadata.google.internal']) {
      const transport = open({ server: `http://${host}`, refuse: 'link-local' })
      await expect(transport.request({ method: 'GET', path: '/' })).rejects.toThrow(/refused/)
    }
  })
})
