import { isObject, type Json } from './json.ts'
import { memberSchema, untyped, type Schema } from './schema.ts'

/** Removes members that the schema does not declare, and says which. Changes the value. */
export function pruneUnknown(value: Json, schema: Schema, path = ''): string[] {
  const removed: string[] = []
  if (Array.isArray(value)) {
    value.forEach((item, index) => removed.push(...pruneUnknown(item, schema.items ?? untyped, `${path}[${index}]`)))
    return removed
  }
  if (!isObject(value)) return removed
  for (const [key, member] of Object.entries(value)) {
    const below = path === '' ? key : `${path}.${key}`
    const declared = memberSchema(schema, key)
    if (declared === undefined) {
      delete value[key]
      removed.push(below)
    } else removed.push(...pruneUnknown(member, declared, below))
  }
  return removed
}

/** Fills in the schema's defaults. Changes the value. */
export function applyDefaults(value: Json, schema: Schema): void {
  if (Array.isArray(value)) {
    for (const item of value) applyDefaults(item, schema.items ?? untyped)
    return
  }
  if (!isObject(value)) return
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    const missing = !Object.hasOwn(value, key) || (value[key] === null && member.nullable !== true)
    if (missing && member.default !== undefined) value[key] = structuredClone(member.default)
  }
  for (const [key, member] of Object.entries(value)) applyDefaults(member, memberSchema(schema, key) ?? untyped)
}

/** Typed kinds do not know null: it means absent. Changes the value; open parts stay as they are. */
export function dropNulls(value: Json, schema: Schema): void {
  if (Array.isArray(value)) {
    for (const item of value) dropNulls(item, schema.items ?? untyped)
    return
  }
  if (!isObject(value)) return
  for (const [key, member] of Object.entries(value)) {
    const declared = memberSchema(schema, key)
    if (declared === undefined || declared === untyped) continue
    if (member === null) delete value[key]
    else dropNulls(member, declared)
  }
}

/** Null for a declared member that cannot be null means that it is absent. Changes the value. */
export function dropUnallowedNulls(value: Json, schema: Schema): void {
  if (Array.isArray(value)) {
    for (const item of value) dropUnallowedNulls(item, schema.items ?? untyped)
    return
  }
  if (!isObject(value)) return
  for (const [key, member] of Object.entries(value)) {
    const declared = schema.properties?.[key]
    if (declared === undefined) continue
    if (member === null && declared.nullable !== true) delete value[key]
    else dropUnallowedNulls(member, declared)
  }
}
