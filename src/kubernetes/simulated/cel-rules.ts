import { Environment, type ParseResult } from '@marcbachmann/cel-js'
import { forbiddenField, invalid, required, type FieldError } from './field-error.ts'
import { canonicalText, isObject, type Json } from './json.ts'
import { isAssociative, memberSchema, type Schema, type ValidationRule } from './schema.ts'
import { childPath } from './schema-validation.ts'

const environment = new Environment({ enableOptionalTypes: true, homogeneousAggregateLiterals: false })
  .registerVariable('self', 'dyn')
  .registerVariable('oldSelf', 'dyn')

const compiled = new Map<string, ParseResult>()
const rulesBelow = new WeakMap<Schema, boolean>()

/** The `x-kubernetes-validations` of a schema against an object; rules on `oldSelf` run on updates only. */
export function checkRules(value: Json, schema: Schema, live: Json | undefined): FieldError[] {
  return hasRules(schema) ? check(value, live, schema, '') : []
}

/** Why one of the expressions cannot be served, or undefined. */
export function ruleProblem(...expressions: readonly (string | undefined)[]): string | undefined {
  for (const expression of expressions) {
    if (expression === undefined) continue
    try {
      const checked = environment.parse(expression).check()
      if (!checked.valid) return checked.error?.summary ?? 'the expression does not compile'
    } catch (error) {
      return error instanceof Error ? (error.message.split('\n')[0] ?? error.message) : String(error)
    }
  }
  return undefined
}

export function hasRules(schema: Schema): boolean {
  const known = rulesBelow.get(schema)
  if (known !== undefined) return known
  const below = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.items === undefined ? [] : [schema.items]),
    ...(typeof schema.additionalProperties === 'object' ? [schema.additionalProperties] : []),
  ]
  const found = (schema['x-kubernetes-validations']?.length ?? 0) > 0 || below.some(hasRules)
  rulesBelow.set(schema, found)
  return found
}

function check(value: Json, old: Json | undefined, schema: Schema, path: string): FieldError[] {
  const errors: FieldError[] = []
  for (const rule of schema['x-kubernetes-validations'] ?? []) {
    const error = checkRule(rule, { value, old, schema, path })
    if (error !== undefined) errors.push(error)
  }
  if (Array.isArray(value)) {
    const items = schema.items
    if (items === undefined || !hasRules(items)) return errors
    const before = correlate(old, schema)
    value.forEach((item, index) => errors.push(...check(item, before(item), items, `${path}[${index}]`)))
    return errors
  }
  if (!isObject(value)) return errors
  for (const [key, member] of Object.entries(value)) {
    const declared = memberSchema(schema, key)
    if (declared === undefined || !hasRules(declared)) continue
    errors.push(...check(member, isObject(old) ? old[key] : undefined, declared, childPath(path, key)))
  }
  return errors
}

/** Items of a list with keys are compared with the item of the same key; others have no past. */
function correlate(old: Json | undefined, schema: Schema): (item: Json) => Json | undefined {
  if (!Array.isArray(old) || !isAssociative(schema)) return () => undefined
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  const keyOf = (item: Json): string =>
    isObject(item) ? canonicalText(keys.map((key) => item[key] ?? null)) : canonicalText(item)
  const byKey = new Map(old.map((item) => [keyOf(item), item]))
  return (item) => byKey.get(keyOf(item))
}

interface Subject {
  readonly value: Json
  readonly old: Json | undefined
  readonly schema: Schema
  readonly path: string
}

function checkRule(rule: ValidationRule, subject: Subject): FieldError | undefined {
  const { value, old, schema, path } = subject
  const onUpdate = /\boldSelf\b/.test(rule.rule)
  if (onUpdate && old === undefined && rule.optionalOldSelf !== true) return undefined
  const context = {
    self: celValue(value, schema),
    oldSelf: old === undefined ? null : celValue(old, schema),
  }
  try {
    if (run(rule.rule, context) === true) return undefined
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    return invalidBy(path, value, `rule evaluation error: ${why}`)
  }
  return failure(rule, subject, context)
}

function failure(rule: ValidationRule, { value, path }: Subject, context: Record<string, unknown>): FieldError {
  const field = rule.fieldPath === undefined ? path : `${path}${rule.fieldPath}`
  const message = messageOf(rule, context)
  switch (rule.reason) {
    case 'FieldValueForbidden':
      return forbiddenField(field, message)
    case 'FieldValueRequired':
      return required(field, message)
    default:
      return invalidBy(field, value, message)
  }
}

function messageOf(rule: ValidationRule, context: Record<string, unknown>): string {
  if (rule.messageExpression !== undefined) {
    try {
      const text: unknown = run(rule.messageExpression, context)
      if (typeof text === 'string' && text.trim() !== '') return text
    } catch {
      // As upstream: a message that cannot be made gives way to the fixed one.
    }
  }
  return rule.message ?? `failed rule: ${rule.rule}`
}

function run(expression: string, context: Record<string, unknown>): unknown {
  let program = compiled.get(expression)
  if (program === undefined) {
    program = environment.parse(expression)
    compiled.set(expression, program)
  }
  return program(context)
}

/** Upstream shows scalars, and nothing of the rest. */
function invalidBy(field: string, value: Json, detail: string): FieldError {
  if (!Array.isArray(value) && !isObject(value)) return invalid(field, value, detail)
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: ${detail}` }
}

/** Integers are integers only by their schema: JSON has one kind of number. */
function celValue(value: Json, schema: Schema): unknown {
  if (typeof value === 'number') return schema.type === 'number' || !Number.isInteger(value) ? value : BigInt(value)
  if (Array.isArray(value)) return value.map((item) => celValue(item, schema.items ?? {}))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, celValue(member, memberSchema(schema, key) ?? {})]),
  )
}
