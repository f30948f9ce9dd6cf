import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import type { Server as SocketServer, Socket } from 'node:net'
import { mediaType, parseBody, parseTarget, readBody, type RequestTarget } from './api-request.ts'
import type { Authorizer, User } from './authorization.ts'
import type { Certificate } from './certificate.ts'
import type { SimulatedClock } from './clock.ts'
import {
  aggregatedDiscovery,
  aggregatedType,
  groupDocument,
  groupList,
  legacyVersions,
  resourceList,
  serverVersion,
  subresourcesOf,
  wantsAggregated,
} from './discovery.ts'
import type { Faults } from './faults.ts'
import { answerFaultRequest } from './fault-endpoint.ts'
import type { JsonObject } from './json.ts'
import type { ObjectRemover } from './object-remover.ts'
import type { ObjectWriter } from './object-writer.ts'
import type { ObjectStore } from './object-store.ts'
import { OpenApi } from './openapi.ts'
import { parseSelection } from './paged-list.ts'
import { chooseRepresentation } from './representation.ts'
import { send, type Answer, type Call, type ResourceHandler } from './resource-handler.ts'
import type { KindRegistry, ResourceKind } from './resource-kind.ts'
import { badRequest, methodNotAllowed, notAcceptable, PageNotFound, pathNotFound, StatusError } from './status-error.ts'
import { virtualResources, type VirtualResource } from './virtual-resources.ts'
import type { WatchCache } from './watch-cache.ts'
import { WatchStream, type WatchOptions } from './watch-stream.ts'

export interface ServerParts {
  readonly kinds: KindRegistry
  readonly store: ObjectStore
  readonly cache: WatchCache
  readonly writer: ObjectWriter
  readonly remover: ObjectRemover
  readonly resources: ResourceHandler
  readonly authorizer: Authorizer
  readonly clock: SimulatedClock
  readonly certificate: Certificate
  readonly watch: WatchOptions
  readonly faults: () => Faults
}

/** The first byte of a TLS handshake; no HTTP request begins with it. */
const tlsHandshake = 0x16

/**
 * HTTP in front of the cluster: who asks, for what, and through which faults.
 * One port speaks plain HTTP and HTTPS, as kubectl sends its token over TLS only.
 */
export class ApiServer {
  readonly #parts: ServerParts
  readonly #listener: SocketServer
  readonly #plain: Server
  readonly #secure: HttpsServer
  readonly #sockets = new Set<Socket>()
  readonly #watches = new Set<WatchStream>()
  readonly #cancelDelays = new Set<() => void>()
  readonly #openApi: OpenApi
  #downUntil = 0
  #requests = 0

  /** Takes over a server that listens already. */
  constructor(parts: ServerParts, listener: SocketServer) {
    this.#parts = parts
    this.#openApi = new OpenApi(parts.kinds)
    const serve = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response)
    this.#plain = createServer(serve)
    this.#secure = createHttpsServer({ cert: parts.certificate.certificate, key: parts.certificate.key }, serve)
    // Longer than any client keeps an idle connection: a request never meets a socket that is just closing.
    for (const server of [this.#plain, this.#secure]) server.keepAliveTimeout = 120_000
    this.#listener = listener
    listener.on('connection', (socket: Socket) => this.#accept(socket))
  }

  get requestCount(): number {
    return this.#requests
  }

  get watches(): ReadonlySet<WatchStream> {
    return this.#watches
  }

  /** Ends the watches of a resource that is no longer served. */
  endWatches(group: string, plural: string): void {
    for (const watch of this.#watches) {
      if (watch.target.group === group && watch.target.resource === plural) watch.end()
    }
  }

  breakConnections(downMs: number): void {
    this.#downUntil = this.#parts.clock.now() + downMs
    for (const socket of this.#sockets) socket.destroy()
  }

  async stop(): Promise<void> {
    for (const cancel of this.#cancelDelays) cancel()
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #accept(socket: Socket): void {
    if (this.#parts.clock.now() < this.#downUntil) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    // Resets are the client's affair; the servers below handle those of the sockets that they get.
    socket.on('error', () => socket.destroy())
    socket.setNoDelay(true)
    socket.once('readable', () => {
      const first: unknown = socket.read(1)
      if (!Buffer.isBuffer(first)) {
        socket.destroy()
        return
      }
      socket.unshift(first)
      const server = first[0] === tlsHandshake ? this.#secure : this.#plain
      server.emit('connection', socket)
    })
  }

  /** Never rejects: whatever goes wrong becomes a Status. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#requests += 1
    // A socket that breaks is the client's affair: the request ends with it.
    response.on('error', () => undefined)
    try {
      await this.#route(request, response)
    } catch (error) {
      if (response.headersSent) {
        response.destroy()
        return
      }
      send(response, statusAnswer(error))
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = parseUrl(request.url ?? '/')
    if (['/healthz', '/livez', '/readyz'].includes(url.pathname)) {
      send(response, { status: 200, contentType: 'text/plain', text: 'ok', warnings: [] })
      return
    }
    const user = this.#parts.authorizer.authenticate(request.headers)
    if (url.pathname.startsWith('/simulate/')) {
      this.#parts.authorizer.requireAdmin(user, url.pathname)
      const { afterwards, ...answer } = await answerFaultRequest(this.#parts.faults(), request, url)
      if (afterwards) response.once('close', afterwards)
      send(response, answer)
      return
    }
    const target = parseTarget(request.method ?? 'GET', url)
    if (target === undefined) {
      if (request.method !== 'GET') throw methodNotAllowed()
      send(response, this.#document(url, request.headers.accept ?? ''))
      return
    }
    if (!(await this.#passFaults(target, response))) return
    await this.#resource({ request, response, url, target, user })
  }

  async #resource(asked: {
    readonly request: IncomingMessage
    readonly response: ServerResponse
    readonly url: URL
    readonly target: RequestTarget
    readonly user: User
  }): Promise<void> {
    const { request, response, url, target, user } = asked
    const virtual = findVirtual(target)
    // Everybody may ask what they may do.
    if (virtual === undefined || virtual.verb !== 'create') {
      this.#parts.authorizer.require(user, { ...target, name: authorizedName(target, url) })
    }
    if (virtual !== undefined) {
      const body = parseBody(await readBody(request), mediaType(request))
      const { store, writer, remover } = this.#parts
      const { status, body: answer } = virtual.answer({ target, user, body, store, writer, remover })
      const text = answer === undefined ? '' : JSON.stringify(answer)
      send(response, { status, contentType: 'application/json', text, warnings: [] })
      return
    }
    const kind = this.#parts.kinds.find(target.group, target.version, target.resource)
    if (kind === undefined || !offers(kind, target)) throw this.#nothingAt(target.group)
    if (target.verb === 'watch') {
      this.#watch({ request, url, target, kind }, response)
      return
    }
    const answer = await this.#parts.resources.answer({ request, url, target, kind })
    const deprecation = kind.deprecation === undefined ? [] : [kind.deprecation]
    send(response, { ...answer, warnings: [...deprecation, ...answer.warnings] })
  }

  #watch({ request, url, target, kind }: Call, response: ServerResponse): void {
    const { store, cache, watch } = this.#parts
    const query = url.searchParams
    const selection = parseSelection(kind, target.namespace, query)
    const representation = chooseRepresentation(request.headers.accept ?? '', query)
    const stream = new WatchStream({ target, selection, representation, query, response }, store, cache, watch)
    this.#watches.add(stream)
    stream.open(() => this.#watches.delete(stream))
  }

  /** False when a fault has answered. */
  async #passFaults(target: RequestTarget, response: ServerResponse): Promise<boolean> {
    for (const fault of this.#parts.faults().meet(target)) {
      if (fault.kind === 'delay') await this.#delay(fault.ms)
      else if (fault.kind === 'refuse') {
        for (const [name, value] of Object.entries(fault.headers)) response.setHeader(name, value)
        throw fault.error
      } else {
        send(response, {
          status: 200,
          contentType: 'application/json',
          text: '{"kind":"List","items":[{',
          warnings: [],
        })
        return false
      }
    }
    return !response.destroyed
  }

  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        this.#cancelDelays.delete(finish)
        cancel()
        resolve()
      }
      const cancel = this.#parts.clock.schedule(finish, ms)
      this.#cancelDelays.add(finish)
    })
  }

  #document(url: URL, accept: string): Answer {
    const [first, second, third, ...more] = url.pathname.split('/').filter((part) => part !== '')
    if (more.length > 0 && first !== 'openapi') throw new PageNotFound()
    switch (first) {
      case undefined:
        return json({ paths: ['/api', '/apis', '/healthz', '/openapi/v2', '/openapi/v3', '/version'] })
      case 'version':
        return json(serverVersion)
      case 'api':
      case 'apis':
        return this.#discovery(first, [second, third], accept)
      case 'openapi':
        return openApi(this.#openApi, second, third === undefined ? [] : [third, ...more], accept)
      default:
        throw new PageNotFound()
    }
  }

  #discovery(root: 'api' | 'apis', path: readonly (string | undefined)[], accept: string): Answer {
    const { kinds } = this.#parts
    const [group, version] = root === 'api' ? ['', path[0]] : path
    if (group === undefined || (root === 'api' && version === undefined)) {
      if (wantsAggregated(accept)) return json(aggregatedDiscovery(kinds, root === 'api'), aggregatedType)
      return json(root === 'api' ? legacyVersions() : groupList(kinds))
    }
    const document = version === undefined ? groupDocument(kinds, group) : resourceList(kinds, group, version)
    if (document === undefined) throw this.#nothingAt(group)
    return json(document)
  }

  /** Groups that belong to the server answer a Status; those of definitions, and those of nobody, a bare page. */
  #nothingAt(group: string): StatusError {
    const built = this.#parts.kinds.all().some((kind) => kind.group === group && !kind.custom)
    return built ? pathNotFound() : new PageNotFound()
  }
}

function parseUrl(text: string): URL {
  try {
    return new URL(`http://simulated${text}`)
  } catch (cause) {
    throw badRequest(`the request's path cannot be read: ${cause instanceof Error ? cause.message : text}`)
  }
}

/** A list or watch of one name is allowed to who may see that name. */
function authorizedName(target: RequestTarget, url: URL): string {
  if (target.name !== '' || (target.verb !== 'list' && target.verb !== 'watch')) return target.name
  const selector = url.searchParams.get('fieldSelector') ?? ''
  return /(?:^|,)metadata\.name=+([^,!=]+)(?:,|$)/.exec(selector)?.[1] ?? ''
}

function findVirtual(target: RequestTarget): VirtualResource | undefined {
  return virtualResources.find(
    (virtual) =>
      virtual.group === target.group &&
      virtual.version === target.version &&
      virtual.resource === target.resource &&
      virtual.subresource === target.subresource &&
      virtual.verb === target.verb,
  )
}

function offers(kind: ResourceKind, target: RequestTarget): boolean {
  if (!kind.namespaced && target.namespace !== '') return false
  if (target.subresource === '') return true
  return subresourcesOf(kind).some(({ name }) => name === target.subresource)
}

function openApi(documents: OpenApi, which: string | undefined, path: readonly string[], accept: string): Answer {
  requireJson(accept)
  if (which === 'v2' && path.length === 0) return jsonText(documents.swagger())
  if (which !== 'v3') throw pathNotFound()
  if (path.length === 0) return jsonText(documents.index())
  const [root, first = '', second = ''] = path
  return jsonText(documents.document(root === 'api' ? '' : first, root === 'api' ? first : second))
}

function jsonText(text: string | undefined): Answer {
  if (text === undefined) throw pathNotFound()
  return { status: 200, contentType: 'application/json', text, warnings: [] }
}

function requireJson(accept: string): void {
  const types = accept.split(',').map((part) => part.split(';')[0]?.trim() ?? '')
  if (!types.some((type) => ['', '*/*', 'application/*', 'application/json'].includes(type))) {
    throw notAcceptable(['application/json'])
  }
}

function json(document: JsonObject, contentType = 'application/json'): Answer {
  return { status: 200, contentType, text: JSON.stringify(document), warnings: [] }
}

function statusAnswer(error: unknown): Answer {
  if (error instanceof PageNotFound) {
    return { status: error.code, contentType: 'text/plain; charset=utf-8', text: `${error.message}\n`, warnings: [] }
  }
  const status =
    error instanceof StatusError
      ? error
      : new StatusError({
          code: 500,
          reason: 'InternalError',
          message: `Internal error occurred: ${error instanceof Error ? error.message : String(error)}`,
        })
  return { status: status.code, contentType: 'application/json', text: JSON.stringify(status.toStatus()), warnings: [] }
}
