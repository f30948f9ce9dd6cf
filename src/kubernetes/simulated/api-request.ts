import type { IncomingMessage } from 'node:http'
import { parse as parseYaml } from 'yaml'
import { isObject, type Json } from './json.ts'
import { parseProtobuf, protobufType } from './protobuf-body.ts'
import { badRequest, methodNotAllowed, StatusError, unsupportedMediaType } from './status-error.ts'

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection'

/** What a request asks for, as the API's authorization sees it. */
export interface RequestTarget {
  readonly verb: Verb
  readonly group: string
  readonly version: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}

const largestBody = 3 * 1024 * 1024

/** The resource that a path names, or undefined for discovery and everything else that is no resource. */
export function parseTarget(method: string, url: URL): RequestTarget | undefined {
  const parts = url.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decodePart)
  const legacy = parts[0] === 'api'
  if (!legacy && parts[0] !== 'apis') return undefined
  const group = legacy ? '' : (parts[1] ?? '')
  const version = (legacy ? parts[1] : parts[2]) ?? ''
  let rest = parts.slice(legacy ? 2 : 3)
  if (rest.length === 0) return undefined
  let namespace = ''
  // `/namespaces/x/pods` is about pods, `/namespaces/x` and `/namespaces/x/status` about the namespace itself.
  const ownSubresource = rest.length === 3 && (rest[2] === 'status' || rest[2] === 'finalize')
  if (rest[0] === 'namespaces' && rest.length > 2 && !ownSubresource) {
    namespace = rest[1] ?? ''
    rest = rest.slice(2)
  }
  const [resource = '', name = '', subresource = '', ...more] = rest
  if (more.length > 0) return undefined
  return { verb: verbOf(method, name, url), group, version, resource, subresource, namespace, name }
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw badRequest(`the path is not valid percent-encoding: ${part}`)
  }
}

function verbOf(method: string, name: string, url: URL): Verb {
  switch (method) {
    case 'POST':
      return 'create'
    case 'PUT':
      return 'update'
    case 'PATCH':
      return 'patch'
    case 'DELETE':
      return name === '' ? 'deletecollection' : 'delete'
    case 'GET':
    case 'HEAD':
      if (name !== '') return 'get'
      return isTrue(url.searchParams.get('watch')) ? 'watch' : 'list'
    default:
      throw methodNotAllowed()
  }
}

export function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1'
}

export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    // Without an encoding, a request yields buffers.
    const bytes = chunk as Buffer
    size += bytes.length
    if (size > largestBody) {
      throw new StatusError({
        code: 413,
        reason: 'RequestEntityTooLarge',
        message: `Request entity too large: limit is ${largestBody}`,
      })
    }
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}

const bodyTypes = ['application/json', 'application/yaml', protobufType]

/** A body in one of the formats of the API, or undefined when there is none. */
export function parseBody(body: Buffer, type: string): Json | undefined {
  if (body.length === 0) return undefined
  if (type !== '' && !bodyTypes.includes(type)) throw unsupportedMediaType(bodyTypes)
  return type === protobufType ? parseProtobuf(body) : parseText(body.toString('utf8'), type === 'application/yaml')
}

export function parseText(text: string, yaml: boolean): Json {
  try {
    // JSON is YAML too, but its own parser is fifty times faster.
    const value: unknown = yaml && !text.trimStart().startsWith('{') ? parseYaml(text) : JSON.parse(text)
    // Both parsers yield nothing but JSON values here: the YAML core schema knows no others.
    return value as Json
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    throw badRequest(`the object provided is unrecognized: ${why}`)
  }
}

export function requireObject(body: Json | undefined): Record<string, Json> {
  if (isObject(body)) return body
  throw badRequest('the object provided is unrecognized (must be of type object)')
}
