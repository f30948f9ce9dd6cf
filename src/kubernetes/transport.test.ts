import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from './clock.ts'
import { ForbiddenError, ThrottledError, UnauthorizedError, UnreachableError } from './cluster-errors.ts'
import type { Authentication, Credentials } from './credentials.ts'
import { ManualClock } from './manual-clock.ts'
import { createTransport, parseWarnings, type Transport } from './transport.ts'

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
}): Transport {
  const { server, clock = systemClock, authentication } = options
  const fixed: Authentication = { server, headers: {}, tls: {}, proxyUrl: undefined, ...authentication }
  const credentials = options.credentials ?? { current: () => Promise.resolve(fixed) }
  const transport = createTransport({ name: 'test', credentials, clock })
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

describe('requests', () => {
  test('carry method, path, query, body and credentials', async () => {
    const seen: unknown[] = []
    const { server } = await serve((request, response) => {
      let body = ''
      request.on('data', (chunk) => (body += String(chunk)))
      request.on('end', () => {
        const { method, url, headers } = request
        seen.push({ method, url, body, type: headers['content-type'], authorization: headers.authorization })
        json(response, 200, { ok: true })
      })
    })
    const transport = open({
      server: `${server}/k8s/c-1`,
      authentication: { server: `${server}/k8s/c-1`, headers: { authorization: 'Bearer t' } },
    })
    const answer = await transport.request({
      method: 'PATCH',
      path: '/apis/x',
      query: { force: true, limit: 5, none: undefined, selector: 'a=b,c' },
      body: { a: 'ä' },
      contentType: 'application/apply-patch+yaml',
    })
    expect(answer).toEqual({ status: 200, body: { ok: true }, warnings: [] })
    expect(seen).toEqual([
      {
        method: 'PATCH',
        url: '/k8s/c-1/apis/x?force=true&limit=5&selector=a%3Db%2Cc',
        body: '{"a":"ä"}',
        type: 'application/apply-patch+yaml',
        authorization: 'Bearer t',
      },
    ])
  })

  test('a refusal becomes the error that says what to do', async () => {
    const { transport } = await serve((_, response) =>
      json(response, 429, { kind: 'Status', code: 429, message: 'slow down' }, { 'retry-after': '3' }),
    )
    const error: unknown = await transport.request({ method: 'GET', path: '/' }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ThrottledError)
    expect(error).toMatchObject({ message: 'slow down', retryAfterMs: 3000 })
  })

  test('warnings are read', async () => {
    const warnings = ['299 - "first \\"quoted\\""', '299 - "second", 299 - "third"']
    const { transport } = await serve((_, response) => json(response, 200, {}, { warning: warnings }))
    const answer = await transport.request({ method: 'GET', path: '/' })
    expect(answer.warnings).toEqual(['first "quoted"', 'second', 'third'])
    expect(parseWarnings(undefined)).toEqual([])
    expect(parseWarnings('199 - "not ours"')).toEqual([])
  })

  test('nobody listens: unreachable', async () => {
    const { server } = await serve(() => {})
    const dead = open({ server: 'http://127.0.0.1:1' })
    await expect(dead.request({ method: 'GET', path: '/' })).rejects.toThrow(
      /^Cluster test cannot be reached: .*ECONNREFUSED/,
    )
    expect(server).toBeTruthy()
  })

  test('no answer within the time: unreachable, and the time is ours', async () => {
    const clock = new ManualClock()
    const { promise: asked, resolve } = Promise.withResolvers<void>()
    const { transport } = await serve(() => resolve(), { clock })
    const request = transport.request({ method: 'GET', path: '/', timeoutMs: 5000 })
    const outcome = expect(request).rejects.toThrow('no answer within 5000 ms')
    await asked
    await clock.advance(5000)
    await outcome
    expect(clock.pending).toBe(0)
  })

  test('half an answer: unreachable', async () => {
    const { transport } = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('{"half":')
      setImmediate(() => response.destroy())
    })
    await expect(transport.request({ method: 'POST', path: '/', body: {} })).rejects.toThrow(UnreachableError)
  })

  test('their signal ends them with its reason', async () => {
    const { promise: asked, resolve } = Promise.withResolvers<void>()
    const { transport } = await serve(() => resolve())
    const abort = new AbortController()
    const outcome = expect(transport.request({ method: 'GET', path: '/', signal: abort.signal })).rejects.toThrow(
      'cancelled',
    )
    await asked
    abort.abort(new Error('cancelled'))
    await outcome
    await expect(transport.request({ method: 'GET', path: '/', signal: abort.signal })).rejects.toThrow('cancelled')
  })

  test('stop ends what is under way, and refuses what comes', async () => {
    const { promise: asked, resolve } = Promise.withResolvers<void>()
    const { transport } = await serve(() => resolve())
    const outcome = expect(transport.request({ method: 'GET', path: '/' })).rejects.toThrow(UnreachableError)
    await asked
    await transport.stop()
    await transport.stop()
    await outcome
    await expect(transport.request({ method: 'GET', path: '/' })).rejects.toThrow('was closed')
  })

  test('a read on a connection that the server has just closed is sent again; a write is not', async () => {
    const sockets = new Set<Socket>()
    let answered = 0
    const handler: Handler = (request, response) => {
      sockets.add(request.socket)
      answered += 1
      // The second request of a connection finds it closed.
      if (answered % 2 === 0) request.socket.destroy()
      else json(response, 200, { answered })
    }
    const { transport } = await serve(handler)
    await transport.request({ method: 'GET', path: '/' })
    await expect(transport.request({ method: 'GET', path: '/' })).resolves.toMatchObject({ body: { answered: 3 } })
    await expect(transport.request({ method: 'POST', path: '/', body: {} })).rejects.toThrow(UnreachableError)
    expect(answered).toBe(4)
  })
})

describe('credentials', () => {
  function rotating(server: () => string) {
    const asked: boolean[] = []
    let token = 'old'
    const credentials: Credentials = {
      current: ({ renew = false } = {}) => {
        asked.push(renew)
        if (renew) token = 'new'
        return Promise.resolve({
          server: server(),
          headers: { authorization: `Bearer ${token}` },
          tls: {},
          proxyUrl: undefined,
        })
      },
    }
    return { asked, credentials }
  }

  test('after a 401 they are renewed, and the request is sent once more, also a write', async () => {
    let url = ''
    const { asked, credentials } = rotating(() => url)
    const { server, transport } = await serve(
      (request, response) => json(response, request.headers.authorization === 'Bearer new' ? 201 : 401, {}),
      { credentials },
    )
    url = server
    await expect(transport.request({ method: 'POST', path: '/', body: {} })).resolves.toMatchObject({ status: 201 })
    expect(asked).toEqual([false, true])
  })

  test('a second 401 is the answer', async () => {
    let url = ''
    let requests = 0
    const { credentials } = rotating(() => url)
    const { server, transport } = await serve(
      (_, response) => {
        requests += 1
        json(response, 401, { kind: 'Status', code: 401, message: 'Unauthorized' })
      },
      { credentials },
    )
    url = server
    await expect(transport.request({ method: 'GET', path: '/' })).rejects.toThrow(UnauthorizedError)
    expect(requests).toBe(2)
  })

  test('that never come do not hold a request beyond its time', async () => {
    const clock = new ManualClock()
    const transport = open({
      server: 'http://127.0.0.1:1',
      clock,
      credentials: { current: () => new Promise(() => {}) },
    })
    const outcome = expect(transport.request({ method: 'GET', path: '/', timeoutMs: 5000 })).rejects.toThrow(
      'no answer within 5000 ms',
    )
    await clock.advance(5000)
    await outcome
  })

  test('are never sent to where a redirect points', async () => {
    const elsewhere: string[] = []
    const other = await serve((request, response) => {
      elsewhere.push(request.url ?? '')
      json(response, 200, {})
    })
    const { transport } = await serve((_, response) => json(response, 302, {}, { location: other.server }))
    await expect(transport.request({ method: 'GET', path: '/' })).rejects.toMatchObject({
      status: 302,
      retryable: false,
    })
    expect(elsewhere).toEqual([])
  })

  test('a watch runs on when the TLS material changes', async () => {
    let tls = {}
    let url = ''
    const responses: ServerResponse[] = []
    const credentials: Credentials = {
      current: () => Promise.resolve({ server: url, headers: {}, tls, proxyUrl: undefined }),
    }
    const { server, transport } = await serve(
      (_, response) => {
        response.writeHead(200).flushHeaders()
        responses.push(response)
      },
      { credentials },
    )
    url = server
    const chunks = (await transport.stream({ method: 'GET', path: '/' }))[Symbol.asyncIterator]()
    tls = { ca: 'another' }
    const other = (await transport.stream({ method: 'GET', path: '/' }))[Symbol.asyncIterator]()
    responses[0]?.write('still here')
    expect(String((await chunks.next()).value)).toBe('still here')
    await chunks.return?.(undefined)
    await other.return?.(undefined)
  })
})

describe('streams', () => {
  test('give chunks as they come, and end with the server', async () => {
    const { transport } = await serve((_, response) => {
      response.write('one\n')
      setImmediate(() => response.end('two\n'))
    })
    let text = ''
    for await (const chunk of await transport.stream({ method: 'GET', path: '/' })) text += String(chunk)
    expect(text).toBe('one\ntwo\n')
  })

  test('a quiet one is not ended by the clock', async () => {
    const clock = new ManualClock()
    let response: ServerResponse | undefined
    const { transport } = await serve(
      (_, answer) => {
        answer.writeHead(200).flushHeaders()
        response = answer
      },
      { clock },
    )
    const chunks = (await transport.stream({ method: 'GET', path: '/', timeoutMs: 1000 }))[Symbol.asyncIterator]()
    const next = chunks.next()
    await clock.advance(3_600_000)
    response?.end('still here')
    expect(String((await next).value)).toBe('still here')
  })

  test('headers that do not come: unreachable', async () => {
    const clock = new ManualClock()
    const { promise: asked, resolve } = Promise.withResolvers<void>()
    const { transport } = await serve(() => resolve(), { clock })
    const outcome = expect(transport.stream({ method: 'GET', path: '/', timeoutMs: 1000 })).rejects.toThrow(
      'no answer within 1000 ms',
    )
    await asked
    await clock.advance(1000)
    await outcome
  })

  test('a refusal without an end is read to a point, and closed', async () => {
    const closed = Promise.withResolvers<void>()
    const { server } = await serve((_, response) => {
      response.on('close', () => closed.resolve())
      response.writeHead(403, { 'content-type': 'text/plain' })
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(64 * 1024)));
        if (!response.destroyed) response.once('drain', more)
      }
      more()
    })
    await expect(open({ server }).stream({ method: 'GET', path: '/' })).rejects.toThrow(ForbiddenError)
    await closed.promise
  })

  test('a refusal is an error, not a stream', async () => {
    const { transport } = await serve((_, response) =>
      json(response, 403, { kind: 'Status', code: 403, reason: 'Forbidden', message: 'no' }),
    )
    await expect(transport.stream({ method: 'GET', path: '/' })).rejects.toThrow(ForbiddenError)
  })

  test('a broken connection is unreachable; the signal ends one with its reason; leaving closes the connection', async () => {
    const closed: Promise<unknown>[] = []
    const { transport } = await serve((request, response) => {
      closed.push(new Promise((resolve) => request.socket.on('close', resolve)))
      response.write('one\n')
      if (request.url === '/break') setImmediate(() => request.socket.destroy())
    })
    const read = async (path: string, signal?: AbortSignal, onChunk = (): void => {}): Promise<void> => {
      for await (const chunk of await transport.stream({ method: 'GET', path, signal })) if (chunk.length > 0) onChunk()
    }
    await expect(read('/break')).rejects.toThrow(UnreachableError)
    const abort = new AbortController()
    await expect(read('/', abort.signal, () => abort.abort(new Error('enough')))).rejects.toThrow('enough')
    for await (const _ of await transport.stream({ method: 'GET', path: '/' })) break
    await Promise.all(closed)
    expect(closed).toHaveLength(3)
  })
})
