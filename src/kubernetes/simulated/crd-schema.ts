import { ruleProblem } from './cel-rules.ts'
import { forbiddenField, invalid, required, type FieldError } from './field-error.ts'
import { isObject, textOf, type Json, type JsonObject } from './json.ts'
import type { Schema } from './schema.ts'
import { compilePattern } from './schema-validation.ts'

/** Keywords that mean here what they mean to the API server. Every other one is refused. */
const known = new Set([
  'type',
  'description',
  'title',
  'format',
  'default',
  'nullable',
  'example',
  'externalDocs',
  'properties',
  'additionalProperties',
  'items',
  'required',
  'enum',
  'pattern',
  'minLength',
  'maxLength',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minItems',
  'maxItems',
  'uniqueItems',
  'minProperties',
  'maxProperties',
  'allOf',
  'anyOf',
  'oneOf',
  'not',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-int-or-string',
  'x-kubernetes-embedded-resource',
  'x-kubernetes-validations',
])

/** A checked schema, or the reasons against it. */
export function readSchema(value: Json | undefined, path: string): { schema: Schema; errors: FieldError[] } {
  if (!isObject(value)) return { schema: {}, errors: [required(path, 'schemas are required')] }
  const errors = checkNode(value, path, true)
  if (value['type'] !== 'object') errors.push(invalid(`${path}.type`, value['type'], 'must be object at the root'))
  return { schema: value, errors }
}

function checkNode(node: JsonObject, path: string, structural: boolean): FieldError[] {
  const errors: FieldError[] = []
  for (const key of Object.keys(node)) {
    if (!known.has(key)) errors.push(forbiddenField(`${path}.${key}`, 'is not supported'))
  }
  const open = node['x-kubernetes-int-or-string'] === true || node['x-kubernetes-preserve-unknown-fields'] === true
  if (structural && node['type'] === undefined && !open) {
    errors.push(required(`${path}.type`, 'must not be empty for specified object fields'))
  }
  if (node['uniqueItems'] === true) {
    errors.push(
      forbiddenField(
        `${path}.uniqueItems`,
        'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
      ),
    )
  }
  errors.push(...checkPattern(node['pattern'], path), ...checkList(node, path), ...checkRuleList(node, path))
  for (const key of ['allOf', 'anyOf', 'oneOf']) {
    const parts = node[key]
    for (const [index, part] of (Array.isArray(parts) ? parts : []).entries()) {
      if (isObject(part)) errors.push(...checkNode(part, `${path}.${key}[${index}]`, false))
    }
  }
  if (isObject(node['not'])) errors.push(...checkNode(node['not'], `${path}.not`, false))
  return [...errors, ...checkBelow(node, path, structural)]
}

function checkBelow(node: JsonObject, path: string, structural: boolean): FieldError[] {
  const errors: FieldError[] = []
  for (const [name, property] of Object.entries(isObject(node['properties']) ? node['properties'] : {})) {
    if (isObject(property)) errors.push(...checkNode(property, `${path}.properties[${name}]`, structural))
    else errors.push(invalid(`${path}.properties[${name}]`, property, 'must be a schema'))
  }
  const { items, additionalProperties } = node
  if (Array.isArray(items))
    errors.push(forbiddenField(`${path}.items`, 'items must be a schema object and not an array'))
  if (isObject(items)) errors.push(...checkNode(items, `${path}.items`, structural))
  if (structural && node['type'] === 'array' && items === undefined) {
    errors.push(required(`${path}.items`, 'must be specified'))
  }
  if (isObject(additionalProperties)) {
    errors.push(...checkNode(additionalProperties, `${path}.additionalProperties`, structural))
    if (isObject(node['properties'])) {
      errors.push(
        forbiddenField(`${path}.additionalProperties`, 'additionalProperties and properties are mutual exclusive'),
      )
    }
  }
  return errors
}

function checkPattern(pattern: Json | undefined, path: string): FieldError[] {
  if (typeof pattern !== 'string') return []
  try {
    compilePattern(pattern)
    return []
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return [invalid(`${path}.pattern`, pattern, `must be a valid regular expression, but isn't: ${why}`)]
  }
}

function checkList(node: JsonObject, path: string): FieldError[] {
  const type = node['x-kubernetes-list-type']
  const keys = node['x-kubernetes-list-map-keys']
  const errors: FieldError[] = []
  if (type !== undefined && node['type'] !== 'array') {
    errors.push(invalid(`${path}.type`, node['type'], 'must be array if x-kubernetes-list-type is set'))
  }
  if (type === 'map' && (!Array.isArray(keys) || keys.length === 0)) {
    errors.push(required(`${path}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map'))
  }
  if (type !== 'map' && keys !== undefined) {
    errors.push(
      invalid(`${path}.x-kubernetes-list-map-keys`, keys, 'must be empty if x-kubernetes-list-type is not map'),
    )
  }
  const items = isObject(node['items']) ? node['items'] : {}
  const needed = Array.isArray(items['required']) ? items['required'] : []
  for (const key of type === 'map' && Array.isArray(keys) ? keys : []) {
    const properties = isObject(items['properties']) ? items['properties'] : {}
    const property = properties[textOf(key)]
    if (!isObject(property)) {
      errors.push(invalid(`${path}.x-kubernetes-list-map-keys`, key, 'entries must all be names of item properties'))
    } else if (!needed.includes(key) && property['default'] === undefined) {
      errors.push(
        required(
          `${path}.items.properties[${textOf(key)}].default`,
          'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
        ),
      )
    }
  }
  return errors
}

function checkRuleList(node: JsonObject, path: string): FieldError[] {
  const rules = node['x-kubernetes-validations']
  const errors: FieldError[] = []
  for (const [index, rule] of (Array.isArray(rules) ? rules : []).entries()) {
    const field = `${path}.x-kubernetes-validations[${index}].rule`
    if (!isObject(rule) || typeof rule['rule'] !== 'string' || rule['rule'].trim() === '') {
      errors.push(required(field, 'rule is not specified'))
      continue
    }
    const expression = rule['messageExpression']
    const problem = ruleProblem(rule['rule'], typeof expression === 'string' ? expression : undefined)
    if (problem !== undefined) errors.push(invalid(field, rule['rule'], `compilation failed: ${problem}`))
  }
  return errors
}
