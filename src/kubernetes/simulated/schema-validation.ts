import {
  duplicate,
  invalid,
  notSupported,
  required,
  tooLong,
  tooMany,
  typeInvalid,
  type FieldError,
} from './field-error.ts'
import { canonicalText, equalJson, isObject, type Json, type JsonObject } from './json.ts'
import { memberSchema, untyped, type Schema } from './schema.ts'

/** What the schema says against the value, in the words of the API server. */
export function validateValue(value: Json, schema: Schema, path: string): FieldError[] {
  const wrongType = checkType(value, schema, path)
  if (wrongType !== undefined) return [wrongType]
  if (value === null) return []
  const errors = [...checkScalar(value, schema, path), ...checkCombinations(value, schema, path)]
  if (Array.isArray(value)) errors.push(...checkList(value, schema, path))
  else if (isObject(value)) errors.push(...checkObject(value, schema, path))
  return errors
}

export function childPath(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

function checkType(value: Json, schema: Schema, path: string): FieldError | undefined {
  if (value === null) {
    if (schema.nullable === true || schema.type === undefined) return undefined
    return typeInvalid(path, 'null', `${path} in body must be of type ${schema.type}: "null"`)
  }
  if (schema['x-kubernetes-int-or-string'] === true) {
    if (typeof value === 'string' || Number.isInteger(value)) return undefined
    return typeInvalid(path, typeName(value), `${path} in body must be of type integer,string: "${typeName(value)}"`)
  }
  if (schema.type === undefined || fits(value, schema.type)) return undefined
  return typeInvalid(path, typeName(value), `${path} in body must be of type ${schema.type}: "${typeName(value)}"`)
}

function fits(value: Json, type: NonNullable<Schema['type']>): boolean {
  switch (type) {
    case 'object':
      return isObject(value)
    case 'array':
      return Array.isArray(value)
    case 'integer':
      return Number.isInteger(value)
    case 'number':
      return typeof value === 'number'
    case 'string':
      return typeof value === 'string'
    case 'boolean':
      return typeof value === 'boolean'
  }
}

function typeName(value: Json): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number'
  return typeof value
}

function checkScalar(value: Json, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  if (schema.enum !== undefined && !schema.enum.some((allowed) => equalJson(allowed, value))) {
    errors.push(notSupported(path, value, schema.enum))
  }
  if (typeof value === 'string') errors.push(...checkString(value, schema, path))
  if (typeof value === 'number') errors.push(...checkNumber(value, schema, path))
  return errors
}

function checkString(value: string, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  const length = countCharacters(value)
  if (schema.maxLength !== undefined && length > schema.maxLength) errors.push(tooLong(path, schema.maxLength))
  if (schema.minLength !== undefined && length < schema.minLength) {
    errors.push(invalid(path, value, `${path} in body should be at least ${schema.minLength} chars long`))
  }
  if (schema.pattern !== undefined && !compilePattern(schema.pattern).test(value)) {
    errors.push(invalid(path, value, `${path} in body should match '${schema.pattern}'`))
  }
  const format = schema.format === undefined ? undefined : formats[schema.format]
  if (format !== undefined && !format(value)) {
    errors.push(
      invalid(path, value, `${path} in body must be of type ${schema.format ?? ''}: ${JSON.stringify(value)}`),
    )
  }
  return errors
}

function checkNumber(value: number, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  const { minimum, maximum, multipleOf } = schema
  const strictly = schema.exclusiveMaximum === true
  if (maximum !== undefined && (strictly ? value >= maximum : value > maximum)) {
    errors.push(invalid(path, value, `${path} in body should be less than ${strictly ? '' : 'or equal to '}${maximum}`))
  }
  const above = schema.exclusiveMinimum === true
  if (minimum !== undefined && (above ? value <= minimum : value < minimum)) {
    errors.push(invalid(path, value, `${path} in body should be greater than ${above ? '' : 'or equal to '}${minimum}`))
  }
  if (multipleOf !== undefined && !Number.isInteger(value / multipleOf)) {
    errors.push(invalid(path, value, `${path} in body should be a multiple of ${multipleOf}`))
  }
  if (schema.format === 'int32' && Math.abs(value) > 2_147_483_648) {
    errors.push(invalid(path, value, `${path} in body must be of type int32: "${value}"`))
  }
  return errors
}

function checkList(items: readonly Json[], schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  if (schema.maxItems !== undefined && items.length > schema.maxItems) {
    errors.push(tooMany(path, items.length, schema.maxItems))
  }
  if (schema.minItems !== undefined && items.length < schema.minItems) {
    errors.push(invalid(path, items.length, `${path} in body should have at least ${schema.minItems} items`))
  }
  const seen = new Set<string>()
  items.forEach((item, index) => {
    const identity = identityOf(item, schema)
    if (identity !== undefined && seen.has(identity)) errors.push(duplicate(`${path}[${index}]`, JSON.parse(identity)))
    if (identity !== undefined) seen.add(identity)
    errors.push(...validateValue(item, schema.items ?? untyped, `${path}[${index}]`))
  })
  return errors
}

function identityOf(item: Json, schema: Schema): string | undefined {
  const type = schema['x-kubernetes-list-type']
  if (type === 'set' || schema.uniqueItems === true) return canonicalText(item)
  if (type !== 'map' || !isObject(item)) return undefined
  const key: JsonObject = {}
  for (const name of schema['x-kubernetes-list-map-keys'] ?? []) {
    const part = item[name]
    if (part !== undefined) key[name] = part
  }
  return canonicalText(key)
}

function checkObject(value: JsonObject, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  for (const key of schema.required ?? []) if (!Object.hasOwn(value, key)) errors.push(required(childPath(path, key)))
  const count = Object.keys(value).length
  if (schema.maxProperties !== undefined && count > schema.maxProperties) {
    errors.push(invalid(path, count, `${path} in body should have at most ${schema.maxProperties} properties`))
  }
  if (schema.minProperties !== undefined && count < schema.minProperties) {
    errors.push(invalid(path, count, `${path} in body should have at least ${schema.minProperties} properties`))
  }
  for (const [key, member] of Object.entries(value)) {
    const declared = memberSchema(schema, key)
    if (declared !== undefined) errors.push(...validateValue(member, declared, childPath(path, key)))
  }
  return errors
}

function checkCombinations(value: Json, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  for (const part of schema.allOf ?? []) errors.push(...validateValue(value, part, path))
  const holds = (part: Schema): boolean => validateValue(value, part, path).length === 0
  if (schema.anyOf !== undefined && !schema.anyOf.some(holds)) {
    errors.push(invalid(path, value, `${path} in body must validate at least one schema (anyOf)`))
  }
  if (schema.oneOf !== undefined && schema.oneOf.filter(holds).length !== 1) {
    errors.push(invalid(path, value, `${path} in body must validate one and only one schema (oneOf)`))
  }
  if (schema.not !== undefined && holds(schema.not)) {
    errors.push(invalid(path, value, `${path} in body must not validate the schema (not)`))
  }
  return errors
}

/** Code points, as the API server counts them. */
function countCharacters(text: string): number {
  let count = 0
  for (const _ of text) count += 1
  return count
}

const patterns = new Map<string, RegExp>()

/** Throws a SyntaxError for a pattern that only the API server's own dialect knows. */
export function compilePattern(pattern: string): RegExp {
  let compiled = patterns.get(pattern)
  if (compiled === undefined) {
    const ignoreCase = pattern.startsWith('(?i)')
    compiled = ignoreCase ? new RegExp(pattern.slice(4), 'iu') : compileUnicode(pattern)
    patterns.set(pattern, compiled)
  }
  return compiled
}

function compileUnicode(pattern: string): RegExp {
  try {
    return new RegExp(pattern, 'u')
  } catch {
    // Unicode mode refuses escapes such as `\-` that the API server's dialect allows.
    return new RegExp(pattern)
  }
}

const formats: Readonly<Record<string, (value: string) => boolean>> = {
  'date-time': (value) => /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(value),
  date: (value) => /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
  duration: (value) => /^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w))+$/.test(value),
  byte: (value) => /^[A-Za-z0-9+/]*={0,2}$/.test(value) && value.length % 4 === 0,
  uuid: (value) => /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i.test(value),
  ipv4: (value) => /^(\d{1,3}\.){3}\d{1,3}$/.test(value) && value.split('.').every((part) => Number(part) < 256),
  ipv6: (value) => value.includes(':') && /^[0-9a-f:.]+$/i.test(value),
  email: (value) => /^[^@\s]+@[^@\s]+$/.test(value),
  hostname: (value) =>
    value.length <= 253 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(value),
  uri: (value) => URL.canParse(value),
}
