import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FieldValidation } from './admission.ts'
import { mediaType, parseBody, parseText, readBody, requireObject, type RequestTarget } from './api-request.ts'
import type { SimulatedClock } from './clock.ts'
import { forbiddenField, invalidObject, notSupported, required, tooLong } from './field-error.ts'
import { findDuplicateMembers } from './duplicate-members.ts'
import { protobufType } from './protobuf-body.ts'
import { textOf, type Json, type JsonObject } from './json.ts'
import { isKubernetesObject, uidOf, type KubernetesObject } from './kubernetes-object.ts'
import type { ObjectRemover } from './object-remover.ts'
import { parseDeleteOptions } from './object-remover.ts'
import type { ObjectStore } from './object-store.ts'
import type { ObjectWriter, WriteOptions } from './object-writer.ts'
import { listPage, parseSelection, parseVersion } from './paged-list.ts'
import { jsonPatch, mergePatch, strategicMergePatch } from './patch.ts'
import { chooseRepresentation, listText, objectText, type Representation } from './representation.ts'
import { apiVersionOf, type ResourceKind } from './resource-kind.ts'
import { badRequest, methodNotAllowed, tooLargeResourceVersion, unsupportedMediaType } from './status-error.ts'
import { scaleOf, withReplicas } from './scale.ts'
import type { WatchCache } from './watch-cache.ts'

export interface Call {
  readonly request: IncomingMessage
  readonly url: URL
  readonly target: RequestTarget
  readonly kind: ResourceKind
}

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly text: string
  readonly warnings: readonly string[]
}

export interface ResourceParts {
  readonly store: ObjectStore
  readonly cache: WatchCache
  readonly writer: ObjectWriter
  readonly remover: ObjectRemover
  readonly clock: SimulatedClock
}

const patchTypes = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const

/** Answers every verb but watch, for every kind. */
export class ResourceHandler {
  readonly #parts: ResourceParts

  constructor(parts: ResourceParts) {
    this.#parts = parts
  }

  async answer(call: Call): Promise<Answer> {
    const { kind, target, url } = call
    const representation = chooseRepresentation(call.request.headers.accept ?? '', url.searchParams)
    if (kind.namespaced && target.namespace === '' && !['list', 'watch'].includes(target.verb)) {
      throw methodNotAllowed()
    }
    if (target.subresource === 'scale') return await this.#scale(call)
    switch (target.verb) {
      case 'get':
        return this.#get(call, representation)
      case 'list':
        return this.#list(call, representation)
      case 'create':
        return await this.#create(call, representation)
      case 'update':
        return await this.#update(call, representation)
      case 'patch':
        return await this.#patch(call, representation)
      case 'delete':
        return await this.#delete(call, representation)
      case 'deletecollection':
        return await this.#deleteCollection(call, representation)
      case 'watch':
        throw methodNotAllowed()
    }
  }

  #get({ kind, target, url }: Call, representation: Representation): Answer {
    const text = url.searchParams.get('resourceVersion') ?? ''
    const version = text === '' ? 0 : parseVersion(text)
    if (version > this.#parts.store.version) throw tooLargeResourceVersion(version, this.#parts.store.version)
    return this.#object(kind, this.#parts.writer.live(kind, target), representation)
  }

  #list({ kind, target, url }: Call, representation: Representation): Answer {
    const { store, cache, clock } = this.#parts
    const selection = parseSelection(kind, target.namespace, url.searchParams)
    const page = listPage(store, cache, selection, url.searchParams)
    const text = listText({ kind, ...page }, representation, clock.now())
    return { status: 200, contentType: representation.contentType, text, warnings: [] }
  }

  async #create(call: Call, representation: Representation): Promise<Answer> {
    const { kind, target } = call
    if (target.name !== '') throw methodNotAllowed()
    const { sent, duplicates } = await readObject(call)
    checkNamespace(sent, target)
    const options = { ...writeOptions(call, 'create'), duplicates }
    const created = this.#parts.writer.create(kind, target.namespace, sent, options)
    return this.#object(kind, created, representation, { status: 201, warnings: options.warnings })
  }

  async #update(call: Call, representation: Representation): Promise<Answer> {
    const { kind, target } = call
    if (target.name === '') throw methodNotAllowed()
    const { sent, duplicates } = await readObject(call)
    checkNamespace(sent, target)
    checkName(sent, target)
    const options = { ...writeOptions(call, 'update'), duplicates }
    const updated = this.#parts.writer.replace(kind, target, sent, options)
    return this.#object(kind, updated, representation, { status: 200, warnings: options.warnings })
  }

  async #patch(call: Call, representation: Representation): Promise<Answer> {
    const { kind, target, request } = call
    if (target.name === '') throw methodNotAllowed()
    const type = mediaType(request)
    const accepted = [
      patchTypes.json,
      patchTypes.merge,
      ...(kind.custom ? [] : [patchTypes.strategic]),
      patchTypes.apply,
    ]
    if (!accepted.some((known) => known === type)) throw unsupportedMediaType(accepted)
    const body = parseText((await readBody(request)).toString('utf8'), type === patchTypes.apply)
    const options = writeOptions(call, 'patch')
    if (type === patchTypes.apply) return this.#apply(call, body, representation)
    if (call.url.searchParams.has('force')) {
      throw invalidObject(patchOptions, '', [forbiddenField('force', 'may not be specified for non-apply patch')])
    }
    const change = (live: KubernetesObject): Json => {
      const patched = changed(type, live, body, kind)
      if (isKubernetesObject(patched)) checkName(patched, target)
      return patched
    }
    const object = this.#parts.writer.modify(kind, target, change, options)
    return this.#object(kind, object, representation, { status: 200, warnings: options.warnings })
  }

  #apply(call: Call, body: Json, representation: Representation): Answer {
    const { kind, target, url } = call
    if ((url.searchParams.get('fieldManager') ?? '') === '') {
      throw invalidObject(patchOptions, '', [required('fieldManager', 'is required for apply patch')])
    }
    const sent = requireKind(body, kind)
    const name = sent.metadata['name']
    if (name !== undefined) checkName(sent, target)
    checkNamespace(sent, target)
    const options = { ...writeOptions(call, 'patch'), force: url.searchParams.get('force') === 'true' }
    const { object, created } = this.#parts.writer.apply(kind, target, sent, options)
    return this.#object(kind, object, representation, { status: created ? 201 : 200, warnings: options.warnings })
  }

  async #delete(call: Call, representation: Representation): Promise<Answer> {
    const { kind, target, url, request } = call
    const body = parseBody(await readBody(request), mediaType(request))
    const { object, gone } = this.#parts.remover.remove(kind, target, parseDeleteOptions(body, url.searchParams))
    if (!gone) return this.#object(kind, object, representation)
    const details: JsonObject = { name: object.metadata.name, kind: kind.plural, uid: uidOf(object) }
    if (kind.group !== '') details['group'] = kind.group
    const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details }
    return { status: 200, contentType: 'application/json', text: JSON.stringify(status), warnings: [] }
  }

  async #deleteCollection(call: Call, representation: Representation): Promise<Answer> {
    const { kind, target, url, request } = call
    const { store, cache, remover, clock } = this.#parts
    const body = parseBody(await readBody(request), mediaType(request))
    const options = parseDeleteOptions(body, url.searchParams)
    const selection = parseSelection(kind, target.namespace, url.searchParams)
    const { objects, metadata } = listPage(store, cache, selection, url.searchParams)
    for (const { metadata: found } of objects) {
      const namespace = typeof found['namespace'] === 'string' ? found['namespace'] : ''
      remover.remove(kind, { namespace, name: found.name }, options)
    }
    const text = listText({ kind, objects, metadata }, representation, clock.now())
    return { status: 200, contentType: representation.contentType, text, warnings: [] }
  }

  /** The number of replicas alone, in the same shape for every kind. */
  async #scale(call: Call): Promise<Answer> {
    const { kind, target, request } = call
    const { writer } = this.#parts
    if (kind.scale === undefined) throw methodNotAllowed()
    const paths = kind.scale
    if (target.verb === 'get') return jsonAnswer(scaleOf(writer.live(kind, target), paths))
    if (target.verb !== 'update' && target.verb !== 'patch') throw methodNotAllowed()
    const type = mediaType(request)
    const accepted = [patchTypes.json, patchTypes.merge]
    if (target.verb === 'patch' && !accepted.some((known) => known === type)) throw unsupportedMediaType(accepted)
    const bytes = await readBody(request)
    const body = target.verb === 'patch' ? parseText(bytes.toString('utf8'), false) : parseBody(bytes, type)
    const options = { ...writeOptions(call, target.verb), subresource: '' } as const
    const change = (live: KubernetesObject): Json => {
      const scale = scaleOf(live, paths)
      const wanted = target.verb === 'patch' ? changed(type, scale, body ?? {}, kind) : requireObject(body)
      return withReplicas(live, wanted, paths)
    }
    return jsonAnswer(scaleOf(writer.modify(kind, target, change, options), paths))
  }

  #object(
    kind: ResourceKind,
    object: KubernetesObject,
    representation: Representation,
    { status = 200, warnings = [] }: { readonly status?: number; readonly warnings?: readonly string[] } = {},
  ): Answer {
    const text = objectText(kind, object, representation, this.#parts.clock.now())
    return { status, contentType: representation.contentType, text, warnings }
  }
}

export function send(response: ServerResponse, answer: Answer): void {
  response.statusCode = answer.status
  response.setHeader('content-type', answer.contentType)
  response.setHeader('cache-control', 'no-cache, private')
  const warnings = answer.warnings.map((text) => `299 - ${JSON.stringify(text)}`)
  if (warnings.length > 0) response.setHeader('warning', warnings)
  response.end(answer.text)
}

function jsonAnswer(document: KubernetesObject): Answer {
  return { status: 200, contentType: 'application/json', text: JSON.stringify(document), warnings: [] }
}

const patchOptions = { group: 'meta.k8s.io', kind: 'PatchOptions' }

function changed(type: string, live: KubernetesObject, patch: Json, kind: ResourceKind): Json {
  if (type === patchTypes.json) return jsonPatch(live, patch)
  const object = requireObject(patch)
  return type === patchTypes.merge ? mergePatch(live, object) : strategicMergePatch(live, object, kind.schema)
}

async function readObject({ request, kind, url }: Call) {
  const bytes = await readBody(request)
  const type = mediaType(request)
  const sent = requireKind(parseBody(bytes, type), kind)
  const looked =
    type !== protobufType && type !== 'application/yaml' && url.searchParams.get('fieldValidation') !== 'Ignore'
  return { sent, duplicates: looked ? findDuplicateMembers(bytes.toString('utf8')) : [] }
}

function requireKind(body: Json | undefined, kind: ResourceKind): KubernetesObject {
  const object = requireObject(body)
  const apiVersion = object['apiVersion'] ?? ''
  const name = object['kind'] ?? ''
  if (name !== '' && name !== kind.kind) {
    throw badRequest(`the kind in the data (${JSON.stringify(name)}) does not match the expected kind (${kind.kind})`)
  }
  if (apiVersion !== '' && apiVersion !== apiVersionOf(kind)) {
    throw badRequest(
      `the API version in the data (${textOf(apiVersion)}) does not match the expected API version (${apiVersionOf(kind)})`,
    )
  }
  if (name === '') throw badRequest("Object 'Kind' is missing")
  if (apiVersion === '') throw badRequest("Object 'apiVersion' is missing")
  object['metadata'] ??= {}
  if (!isKubernetesObject(object)) throw badRequest('metadata must be an object')
  return object
}

function checkName(sent: KubernetesObject, target: RequestTarget): void {
  const name = sent.metadata['name']
  if (name === target.name) return
  if (name === undefined || name === '') {
    throw badRequest(`the name of the object (${target.name} based on URL) was undeterminable: name must be provided`)
  }
  throw badRequest(`the name of the object (${String(name)}) does not match the name on the URL (${target.name})`)
}

function checkNamespace(sent: KubernetesObject, target: RequestTarget): void {
  const namespace = sent.metadata['namespace']
  if (namespace === undefined || namespace === '' || namespace === target.namespace) return
  throw badRequest('the namespace of the provided object does not match the namespace sent on the request')
}

function writeOptions({ url, request, target }: Call, verb: 'create' | 'update' | 'patch') {
  const { searchParams } = url
  const type = { group: 'meta.k8s.io', kind: `${verb.charAt(0).toUpperCase()}${verb.slice(1)}Options` }
  const dryRun = searchParams.getAll('dryRun').filter((value) => value !== '')
  if (dryRun.some((value) => value !== 'All')) {
    throw invalidObject(type, '', [notSupported('dryRun', dryRun, ['All'])])
  }
  const validation = searchParams.get('fieldValidation') ?? ''
  if (!isFieldValidation(validation)) {
    throw invalidObject(type, '', [notSupported('fieldValidation', validation, ['', 'Ignore', 'Strict', 'Warn'])])
  }
  if ((searchParams.get('fieldManager') ?? '').length > 128) {
    throw invalidObject(type, '', [tooLong('fieldManager', 128)])
  }
  const agent = request.headers['user-agent']?.split('/')[0] ?? ''
  const manager = searchParams.get('fieldManager') ?? ''
  return {
    manager: (manager === '' ? agent || 'unknown' : manager).slice(0, 128),
    dryRun: dryRun.length > 0,
    fieldValidation: validation === '' ? 'Warn' : validation,
    subresource: target.subresource === 'status' ? 'status' : '',
    // Filled while the object is written, sent with the answer.
    warnings: [] as string[],
  } satisfies WriteOptions
}

function isFieldValidation(text: string): text is FieldValidation | '' {
  return text === '' || text === 'Strict' || text === 'Warn' || text === 'Ignore'
}
