import { isObject, type JsonObject } from './json.ts'
import { invalid, forbiddenField, invalidObject } from './field-error.ts'
import { namespaceOf, type KubernetesObject } from './kubernetes-object.ts'
import type { ObjectStore } from './object-store.ts'
import { inVersion } from './object-writer.ts'
import { resourceId, type ResourceKind } from './resource-kind.ts'
import { parseFieldSelector, parseLabelSelector, type ObjectFilter } from './selectors.ts'
import { badRequest, expired, tooLargeResourceVersion } from './status-error.ts'
import type { WatchCache } from './watch-cache.ts'

export interface Selection {
  readonly kind: ResourceKind
  /** Empty: all namespaces. */
  readonly namespace: string
  readonly filter: ObjectFilter | undefined
}

export interface Page {
  readonly objects: readonly KubernetesObject[]
  readonly metadata: JsonObject
}

interface Position {
  /** The version that all pages show; absent: the newest, at the price of consistency. */
  readonly version: number | undefined
  readonly after: string
}

const listOptions = { group: 'meta.k8s.io', kind: 'ListOptions' }

export function parseSelection(kind: ResourceKind, namespace: string, query: URLSearchParams): Selection {
  const labels = parseLabelSelector(query.get('labelSelector') ?? '')
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '', kind)
  const inNamespace: ObjectFilter | undefined =
    namespace === '' ? undefined : (object) => namespaceOf(object) === namespace
  const filters = [inNamespace, labels, fields].filter((filter) => filter !== undefined)
  const filter: ObjectFilter | undefined =
    filters.length === 0 ? undefined : (object) => filters.every((passes) => passes(object))
  return { kind, namespace, filter }
}

/** A list or one page of it. Pages show one moment, as long as the watch history reaches back to it. */
export function listPage(store: ObjectStore, cache: WatchCache, selection: Selection, query: URLSearchParams): Page {
  const resource = resourceId(selection.kind)
  const limit = wholeNumber(query, 'limit')
  const position = startOf(store, query)
  const { version = store.version } = position
  const objects = cache.objectsAt(resource, version)
  if (objects === undefined) throw tooOld(query, position, cache.oldest(resource))
  const keys = objects === store.objects(resource) ? store.keys(resource) : [...objects.keys()].sort()
  const found: KubernetesObject[] = []
  let last = ''
  let remaining = 0
  for (const key of keys) {
    if (key <= position.after) continue
    const object = objects.get(key)
    if (object === undefined || selection.filter?.(object) === false) continue
    if (limit > 0 && found.length === limit) {
      remaining += 1
      continue
    }
    found.push(inVersion(object, selection.kind))
    last = key
  }
  const metadata: JsonObject = { resourceVersion: String(version) }
  if (remaining > 0) {
    metadata['continue'] = encodePosition({ version, after: last })
    const selective = (query.get('labelSelector') ?? '') + (query.get('fieldSelector') ?? '') !== ''
    // With a selector the API server does not count what it has not read.
    if (!selective) metadata['remainingItemCount'] = remaining
  }
  return { objects: found, metadata }
}

function startOf(store: ObjectStore, query: URLSearchParams): Position {
  const token = query.get('continue') ?? ''
  const text = query.get('resourceVersion') ?? ''
  const match = query.get('resourceVersionMatch') ?? ''
  if (token !== '') {
    if (text !== '' && text !== '0') {
      throw badRequest('specifying resource version is not allowed when using continue')
    }
    return decodePosition(token)
  }
  checkMatch(text, match)
  if (text === '' || text === '0') return { version: undefined, after: '' }
  const version = parseVersion(text)
  if (version > store.version) throw tooLargeResourceVersion(version, store.version)
  return { version: match === 'Exact' ? version : undefined, after: '' }
}

function checkMatch(version: string, match: string): void {
  if (match === '') return
  if (version === '') {
    throw invalidObject(listOptions, '', [
      forbiddenField('resourceVersionMatch', 'resourceVersionMatch is forbidden unless resourceVersion is provided'),
    ])
  }
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    throw invalidObject(listOptions, '', [
      {
        reason: 'FieldValueNotSupported',
        field: 'resourceVersionMatch',
        message: `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`,
      },
    ])
  }
  if (match === 'Exact' && version === '0') {
    throw invalidObject(listOptions, '', [
      forbiddenField('resourceVersionMatch', 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'),
    ])
  }
}

export function parseVersion(text: string): number {
  const version = Number(text)
  if (Number.isSafeInteger(version) && version >= 0 && /^\d+$/.test(text)) return version
  throw invalidObject(listOptions, '', [invalid('resourceVersion', text, 'strconv.ParseUint: parsing: invalid syntax')])
}

function wholeNumber(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? ''
  if (text === '') return 0
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw badRequest(`invalid value ${JSON.stringify(text)} for ${name}`)
  return value
}

function tooOld(query: URLSearchParams, position: Position, oldest: number) {
  if ((query.get('continue') ?? '') === '') {
    return expired(`The resourceVersion for the provided list is too old: ${position.version ?? 0} (${oldest})`)
  }
  const message =
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.'
  return expired(message, { continue: encodePosition({ version: undefined, after: position.after }) })
}

function encodePosition({ version, after }: Position): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: version ?? -1, start: after })).toString('base64url')
}

function decodePosition(token: string): Position {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'))
    if (isObject(value) && typeof value['rv'] === 'number' && typeof value['start'] === 'string') {
      return { version: value['rv'] < 0 ? undefined : value['rv'], after: value['start'] }
    }
  } catch {
    // Falls through: whatever is not one of our tokens is refused in the same way.
  }
  throw badRequest('invalid continue token: continue key is not valid')
}
