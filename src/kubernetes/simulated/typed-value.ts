import { FieldSet, pathText, type FieldPath } from './field-set.ts'
import { canonicalText, defineMember, equalJson, isObject, type Json, type JsonObject } from './json.ts'
import { memberSchema, untyped, type Schema } from './schema.ts'

/** How a value takes part in merging: one by one (`map`, `list`) or as a whole (`leaf`). */
type Shape = 'map' | 'list' | 'leaf'

export interface Comparison {
  readonly added: FieldSet
  readonly modified: FieldSet
  readonly removed: FieldSet
}

/** The fields that a configuration states, or the reasons why it does not fit the schema. */
export function fieldsOf(value: Json, schema: Schema): { readonly set: FieldSet; readonly errors: readonly string[] } {
  const set = new FieldSet()
  const errors: string[] = []
  collect(value, { schema, path: [], set, errors })
  return { set, errors }
}

interface Collecting {
  readonly schema: Schema
  readonly path: FieldPath
  readonly set: FieldSet
  readonly errors: string[]
}

function collect(value: Json, state: Collecting): void {
  if (value === null) {
    state.set.insert(state.path)
    return
  }
  const mismatch = typeMismatch(value, state.schema)
  if (mismatch !== undefined) {
    state.errors.push(`${pathText(state.path)}: ${mismatch}`)
    return
  }
  const shape = shapeOf(value, state.schema)
  if (shape === 'map' && isObject(value)) collectMembers(value, state)
  else if (shape === 'list' && Array.isArray(value)) collectItems(value, state)
  else state.set.insert(state.path)
}

function collectMembers(value: JsonObject, state: Collecting): void {
  for (const [key, member] of Object.entries(value)) {
    const schema = memberSchema(state.schema, key)
    const path = [...state.path, `f:${key}`]
    if (schema === undefined) {
      state.errors.push(`${pathText(path)}: field not declared in schema`)
      continue
    }
    collect(member, { ...state, schema, path })
    const emptyMap = isObject(member) && Object.keys(member).length === 0
    if (emptyMap || state.schema.properties?.[key] === undefined) state.set.insert(path)
  }
}

function collectItems(items: readonly Json[], state: Collecting): void {
  const seen = new Set<string>()
  items.forEach((item, index) => {
    const step = itemStep(item, state.schema)
    if (step === undefined) {
      state.errors.push(`${pathText(state.path)}: element ${index}: ${missingKey(item, state.schema)}`)
      return
    }
    if (seen.has(step)) {
      state.errors.push(`${pathText(state.path)}: duplicate entries for key ${pathText([step])}`)
      return
    }
    seen.add(step)
    const path = [...state.path, step]
    collect(item, { ...state, schema: state.schema.items ?? untyped, path })
    state.set.insert(path)
  })
}

/** Which fields differ between two objects of one schema. */
export function compareValues(left: Json, right: Json, schema: Schema): Comparison {
  const result: Comparison = { added: new FieldSet(), modified: new FieldSet(), removed: new FieldSet() }
  compare({ left, right, schema, path: [], result })
  return result
}

interface Comparing {
  readonly left: Json | undefined
  readonly right: Json | undefined
  readonly schema: Schema
  readonly path: FieldPath
  readonly result: Comparison
}

function compare(state: Comparing): void {
  const { left, right, schema, path, result } = state
  if (left === right) return
  const leftShape = left === undefined ? undefined : shapeOf(left, schema)
  const rightShape = right === undefined ? undefined : shapeOf(right, schema)
  if (leftShape === 'leaf' || rightShape === 'leaf' || (leftShape ?? rightShape) !== (rightShape ?? leftShape)) {
    compareLeaf(state)
    return
  }
  if (left === undefined) result.added.insert(path)
  else if (right === undefined) result.removed.insert(path)
  if ((leftShape ?? rightShape) === 'map') compareMembers(state)
  else compareItems(state)
}

function compareLeaf({ left, right, path, result }: Comparing): void {
  if (left === undefined) result.added.insert(path)
  else if (right === undefined) result.removed.insert(path)
  else if (!equalJson(left, right)) result.modified.insert(path)
}

function compareMembers(state: Comparing): void {
  const left = isObject(state.left) ? state.left : {}
  const right = isObject(state.right) ? state.right : {}
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    compare({
      left: Object.hasOwn(left, key) ? left[key] : undefined,
      right: Object.hasOwn(right, key) ? right[key] : undefined,
      schema: memberSchema(state.schema, key) ?? untyped,
      path: [...state.path, `f:${key}`],
      result: state.result,
    })
  }
}

function compareItems(state: Comparing): void {
  const left = itemsByStep(state.left, state.schema)
  const right = itemsByStep(state.right, state.schema)
  for (const step of new Set([...left.keys(), ...right.keys()])) {
    compare({
      left: left.get(step),
      right: right.get(step),
      schema: state.schema.items ?? untyped,
      path: [...state.path, step],
      result: state.result,
    })
  }
}

/** The live value with the configuration laid over it. */
export function mergeValues(live: Json | undefined, config: Json | undefined, schema: Schema): Json {
  if (config === undefined) return live ?? null
  if (live === undefined || live === null || config === null) return config
  const shape = shapeOf(config, schema)
  if (shape !== shapeOf(live, schema) || shape === 'leaf') return config
  if (isObject(live) && isObject(config)) {
    const merged: JsonObject = {}
    for (const key of new Set([...Object.keys(live), ...Object.keys(config)])) {
      const below = memberSchema(schema, key) ?? untyped
      const ours = Object.hasOwn(live, key) ? live[key] : undefined
      defineMember(merged, key, mergeValues(ours, Object.hasOwn(config, key) ? config[key] : undefined, below))
    }
    return merged
  }
  return Array.isArray(live) && Array.isArray(config) ? mergeItems(live, config, schema) : config
}

function mergeItems(live: readonly Json[], config: readonly Json[], schema: Schema): Json[] {
  const ours = itemsByStep([...live], schema)
  const theirs = itemsByStep([...config], schema)
  const merged: Json[] = []
  const kept = [...ours.keys()]
  let position = 0
  const keepOthers = (until: string | undefined): void => {
    for (; position < kept.length && kept[position] !== until; position += 1) {
      const step = kept[position]
      if (step !== undefined && !theirs.has(step)) merged.push(ours.get(step) ?? null)
    }
  }
  for (const [step, item] of theirs) {
    // Items that only the live list has keep their place before the next item that both have.
    if (kept.indexOf(step) >= position) keepOthers(step)
    merged.push(mergeValues(ours.get(step), item, schema.items ?? untyped))
  }
  keepOthers(undefined)
  return merged
}

/** The value without the given fields; a container that becomes empty goes with its last field. */
export function removeFields(value: Json, fields: FieldSet, schema: Schema): Json | undefined {
  const shape = shapeOf(value, schema)
  if (shape === 'map' && isObject(value)) {
    const kept: JsonObject = {}
    for (const [key, member] of Object.entries(value)) {
      const below = fields.children.get(`f:${key}`)
      const rest = removeBelow(member, below, memberSchema(schema, key) ?? untyped)
      if (rest !== undefined) defineMember(kept, key, rest)
    }
    return Object.keys(kept).length === 0 && Object.keys(value).length > 0 ? undefined : kept
  }
  if (shape === 'list' && Array.isArray(value)) {
    const kept: Json[] = []
    for (const item of value) {
      const step = itemStep(item, schema)
      const below = step === undefined ? undefined : fields.children.get(step)
      const rest = removeBelow(item, below, schema.items ?? untyped)
      if (rest !== undefined) kept.push(rest)
    }
    return kept.length === 0 && value.length > 0 ? undefined : kept
  }
  return value
}

function removeBelow(value: Json, fields: FieldSet | undefined, schema: Schema): Json | undefined {
  if (fields === undefined) return value
  return fields.owned ? undefined : removeFields(value, fields, schema)
}

function itemsByStep(value: Json | undefined, schema: Schema): Map<string, Json> {
  const items = new Map<string, Json>()
  if (!Array.isArray(value)) return items
  for (const [index, item] of value.entries()) items.set(itemStep(item, schema) ?? `i:${index}`, item)
  return items
}

function itemStep(item: Json, schema: Schema): string | undefined {
  if (schema['x-kubernetes-list-type'] === 'set') return `v:${canonicalText(item)}`
  const key: JsonObject = {}
  for (const name of schema['x-kubernetes-list-map-keys'] ?? []) {
    const value = isObject(item) ? (item[name] ?? schema.items?.properties?.[name]?.default) : undefined
    if (value === undefined || value === null) return undefined
    key[name] = value
  }
  return `k:${canonicalText(key)}`
}

function missingKey(item: Json, schema: Schema): string {
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  const missing = keys.find((key) => !isObject(item) || item[key] === undefined) ?? ''
  return `associative list with keys has an element that omits key field ${JSON.stringify(missing)} (and doesn't have default value)`
}

function shapeOf(value: Json, schema: Schema): Shape {
  if (isObject(value)) {
    if (schema['x-kubernetes-map-type'] === 'atomic') return 'leaf'
    return schema['x-kubernetes-int-or-string'] === true ? 'leaf' : 'map'
  }
  if (Array.isArray(value)) {
    const type = schema['x-kubernetes-list-type']
    return type === 'map' || type === 'set' ? 'list' : 'leaf'
  }
  return 'leaf'
}

function typeMismatch(value: Json, schema: Schema): string | undefined {
  const got = (): string => `got ${JSON.stringify(value)}`
  switch (schema.type) {
    case 'object':
      return isObject(value) ? undefined : `expected map, ${got()}`
    case 'array':
      return Array.isArray(value) ? undefined : `expected list, ${got()}`
    case 'string':
      return typeof value === 'string' ? undefined : `expected string, ${got()}`
    case 'integer':
    case 'number':
      return typeof value === 'number' ? undefined : `expected numeric (int or float), ${got()}`
    case 'boolean':
      return typeof value === 'boolean' ? undefined : `expected boolean, ${got()}`
    default:
      return undefined
  }
}
