import { isAssociative, memberSchema, untyped, type Schema } from './schema.ts'
import { badRequest, StatusError } from './status-error.ts'
import { cloneJson, defineMember, equalJson, isObject, type Json, type JsonObject } from './json.ts'

/** RFC 7386. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch
  const result: JsonObject = isObject(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else defineMember(result, key, mergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value))
  }
  return result
}

/** RFC 6902. A failed `test` is 422, as is a path that is not there. */
export function jsonPatch(target: Json, patch: Json): Json {
  if (!Array.isArray(patch)) throw badRequest('json: cannot unmarshal object into Go value of type jsonpatch.Patch')
  let document = cloneJson(target)
  for (const operation of patch) {
    if (!isObject(operation)) throw badRequest('a JSON patch is a list of operations')
    document = runOperation(document, operation)
  }
  return document
}

function runOperation(document: Json, operation: JsonObject): Json {
  const path = pointer(operation['path'])
  const value = operation['value'] ?? null
  switch (operation['op']) {
    case 'add':
      return edit(document, path, 'add', value)
    case 'replace':
      read(document, path)
      return edit(document, path, 'replace', value)
    case 'remove':
      read(document, path)
      return edit(document, path, 'remove', null)
    case 'test':
      if (!equalJson(readOrUndefined(document, path) ?? null, value)) {
        throw refused()
      }
      return document
    case 'copy':
      return edit(document, path, 'add', cloneJson(read(document, pointer(operation['from']))))
    case 'move': {
      const from = pointer(operation['from'])
      const moved = read(document, from)
      return edit(edit(document, from, 'remove', null), path, 'add', moved)
    }
    default:
      throw refused()
  }
}

function pointer(value: Json | undefined): string[] {
  if (value === '') return []
  if (typeof value !== 'string' || !value.startsWith('/')) throw refused()
  const steps = value.slice(1).split('/')
  return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function readOrUndefined(document: Json, path: readonly string[]): Json | undefined {
  let current: Json | undefined = document
  for (const step of path) {
    if (Array.isArray(current)) current = current[Number(step)]
    else if (isObject(current)) current = Object.hasOwn(current, step) ? current[step] : undefined
    else return undefined
  }
  return current
}

function read(document: Json, path: readonly string[]): Json {
  const found = readOrUndefined(document, path)
  if (found === undefined) throw refused()
  return found
}

function edit(document: Json, path: readonly string[], how: 'add' | 'replace' | 'remove', value: Json): Json {
  const step = path.at(-1)
  if (step === undefined) return value
  const parent = read(document, path.slice(0, -1))
  if (Array.isArray(parent)) editList(parent, step, how === 'add' ? { add: value } : { [how]: value })
  else if (isObject(parent)) {
    if (how === 'remove') delete parent[step]
    else defineMember(parent, step, value)
  } else throw refused()
  return document
}

function editList(list: Json[], step: string, change: { add?: Json; replace?: Json; remove?: Json }): void {
  const index = step === '-' && change.add !== undefined ? list.length : Number(step)
  const limit = change.add === undefined ? list.length - 1 : list.length
  if (!Number.isInteger(index) || index < 0 || index > limit) throw refused()
  if (change.add !== undefined) list.splice(index, 0, change.add)
  else if (change.replace !== undefined) list[index] = change.replace
  else list.splice(index, 1)
}

/** The API server does not say what is wrong with a JSON patch. */
function refused(): StatusError {
  const message = 'the server rejected our request due to an error in our request'
  return new StatusError({ code: 422, reason: 'Invalid', message, details: {} })
}

/** The API's own merge: lists with a merge key merge item by item, directives (`$patch`, `$retainKeys`…) steer it. */
export function strategicMergePatch(target: Json | undefined, patch: Json, schema: Schema): Json {
  if (!isObject(patch)) return patch
  const directive = patch['$patch']
  if (directive === 'replace') return withoutDirectives(patch)
  if (directive === 'delete') return {}
  const result: JsonObject = isObject(target) ? { ...target } : {}
  const retained = patch['$retainKeys']
  if (Array.isArray(retained)) {
    for (const key of Object.keys(result)) if (!retained.includes(key)) delete result[key]
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue
    if (value === null) delete result[key]
    else {
      const below = memberSchema(schema, key) ?? untyped
      const current = Object.hasOwn(result, key) ? result[key] : undefined
      defineMember(result, key, mergeStrategically(current, value, below))
    }
  }
  deletePrimitives(result, patch)
  reorder(result, patch, schema)
  return result
}

function mergeStrategically(current: Json | undefined, value: Json, schema: Schema): Json {
  if (Array.isArray(value)) return mergeList(Array.isArray(current) ? current : [], value, schema)
  if (!isObject(value)) return value
  if (schema['x-kubernetes-map-type'] === 'atomic') return withoutDirectives(value)
  return strategicMergePatch(current, value, schema)
}

function mergeList(current: readonly Json[], patch: readonly Json[], schema: Schema): Json[] {
  const mergeKey = schema['x-kubernetes-patch-merge-key']
  if (mergeKey === undefined) {
    if (!isAssociative(schema)) return [...patch]
    return [...current, ...patch.filter((item) => !current.some((known) => equalJson(known, item)))]
  }
  if (patch.some((item) => isObject(item) && item['$patch'] === 'replace')) {
    return patch.filter((item) => isObject(item) && item['$patch'] === undefined)
  }
  const result = [...current]
  for (const item of patch) {
    const index = result.findIndex((known) => sameKey(known, item, mergeKey))
    if (isObject(item) && item['$patch'] === 'delete') {
      if (index >= 0) result.splice(index, 1)
    } else if (index < 0) result.push(isObject(item) ? withoutDirectives(item) : item)
    else result[index] = strategicMergePatch(result[index], item, schema.items ?? untyped)
  }
  return result
}

function sameKey(left: Json | undefined, right: Json, key: string): boolean {
  return isObject(left) && isObject(right) && right[key] !== undefined && equalJson(left[key], right[key])
}

function deletePrimitives(result: JsonObject, patch: JsonObject): void {
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith('$deleteFromPrimitiveList/') || !Array.isArray(value)) continue
    const field = key.slice(key.indexOf('/') + 1)
    const list = result[field]
    if (Array.isArray(list)) result[field] = list.filter((item) => !value.includes(item))
  }
}

function reorder(result: JsonObject, patch: JsonObject, schema: Schema): void {
  for (const [key, order] of Object.entries(patch)) {
    if (!key.startsWith('$setElementOrder/') || !Array.isArray(order)) continue
    const field = key.slice(key.indexOf('/') + 1)
    const list = result[field]
    if (!Array.isArray(list)) continue
    const mergeKey = memberSchema(schema, field)?.['x-kubernetes-patch-merge-key']
    const rank = (item: Json): number =>
      order.findIndex((wanted) => (mergeKey === undefined ? equalJson(item, wanted) : sameKey(item, wanted, mergeKey)))
    // Items that the order does not name (made by others) stay behind those that it names.
    const placed = list.map((item, index) => ({ item, index, rank: rank(item) }))
    placed.sort((left, right) => byRank(left, right, list.length))
    result[field] = placed.map(({ item }) => item)
  }
}

function byRank(
  left: { readonly index: number; readonly rank: number },
  right: { readonly index: number; readonly rank: number },
  length: number,
): number {
  const place = (item: { readonly index: number; readonly rank: number }): number =>
    item.rank < 0 ? length + item.index : item.rank
  return place(left) - place(right)
}

function withoutDirectives(value: JsonObject): JsonObject {
  const result: JsonObject = {}
  for (const [key, member] of Object.entries(value)) {
    if (key.startsWith('$')) continue
    defineMember(result, key, isObject(member) ? withoutDirectives(member) : member)
  }
  return result
}
