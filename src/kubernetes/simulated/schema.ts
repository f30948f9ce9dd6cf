import type { Json } from './json.ts'

/** A structural schema: OpenAPI v3 with the Kubernetes extensions that the simulated cluster obeys. */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  readonly description?: string
  readonly title?: string
  readonly format?: string
  readonly default?: Json
  readonly nullable?: boolean
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly enum?: readonly Json[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: boolean
  readonly exclusiveMaximum?: boolean
  readonly multipleOf?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly minProperties?: number
  readonly maxProperties?: number
  readonly allOf?: readonly Schema[]
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly not?: Schema
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-map-type'?: 'granular' | 'atomic'
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean
  readonly 'x-kubernetes-int-or-string'?: boolean
  readonly 'x-kubernetes-embedded-resource'?: boolean
  readonly 'x-kubernetes-validations'?: readonly ValidationRule[]
  readonly 'x-kubernetes-patch-strategy'?: string
  readonly 'x-kubernetes-patch-merge-key'?: string
}

export interface ValidationRule {
  readonly rule: string
  readonly message?: string
  readonly messageExpression?: string
  readonly reason?: string
  readonly fieldPath?: string
  readonly optionalOldSelf?: boolean
}

export const string: Schema = { type: 'string' }
export const integer: Schema = { type: 'integer', format: 'int64' }
export const int32: Schema = { type: 'integer', format: 'int32' }
export const boolean: Schema = { type: 'boolean' }
export const dateTime: Schema = { type: 'string', format: 'date-time' }
export const quantity: Schema = { 'x-kubernetes-int-or-string': true }
/** Anything below is kept as it came, and merged key by key. */
export const anything: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
export const stringMap: Schema = { type: 'object', additionalProperties: string }

export function object(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { type: 'object', properties, ...(required.length > 0 ? { required } : {}) }
}

export function list(items: Schema): Schema {
  return { type: 'array', items, 'x-kubernetes-list-type': 'atomic' }
}

export function setOf(items: Schema): Schema {
  return { type: 'array', items, 'x-kubernetes-list-type': 'set' }
}

export function listMap(keys: readonly string[], items: Schema): Schema {
  return {
    type: 'array',
    items,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': keys,
    ...(keys[0] === undefined
      ? {}
      : { 'x-kubernetes-patch-strategy': 'merge', 'x-kubernetes-patch-merge-key': keys[0] }),
  }
}

export const conditions: Schema = listMap(
  ['type'],
  object(
    {
      type: string,
      status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
      reason: string,
      message: string,
      observedGeneration: integer,
      lastTransitionTime: dateTime,
    },
    ['type', 'status'],
  ),
)

const ownerReference = object(
  {
    apiVersion: string,
    kind: string,
    name: string,
    uid: string,
    controller: boolean,
    blockOwnerDeletion: boolean,
  },
  ['apiVersion', 'kind', 'name', 'uid'],
)

export const objectMeta: Schema = object({
  name: string,
  generateName: string,
  namespace: string,
  uid: string,
  resourceVersion: string,
  generation: integer,
  creationTimestamp: { ...dateTime, nullable: true },
  deletionTimestamp: { ...dateTime, nullable: true },
  deletionGracePeriodSeconds: integer,
  selfLink: string,
  labels: stringMap,
  annotations: stringMap,
  finalizers: { ...setOf(string), 'x-kubernetes-patch-strategy': 'merge' },
  ownerReferences: listMap(['uid'], ownerReference),
  managedFields: list(anything),
})

/** The whole object's schema: type and metadata are the same for every kind, but for rules on the name. */
export function withObjectMeta(schema: Schema): Schema {
  const name = schema.properties?.['metadata']?.properties?.['name']
  const metadata =
    name === undefined
      ? objectMeta
      : { ...objectMeta, properties: { ...objectMeta.properties, name: { ...string, ...name } } }
  return {
    ...schema,
    type: 'object',
    properties: { ...schema.properties, apiVersion: string, kind: string, metadata },
  }
}

/** A list whose elements have identities, so that managers can own them one by one. */
export function isAssociative(schema: Schema): boolean {
  const type = schema['x-kubernetes-list-type']
  return type === 'map' || type === 'set'
}

/** Fields of the object are not declared: they are kept as they come. */
function isOpen(schema: Schema): boolean {
  return (
    schema['x-kubernetes-preserve-unknown-fields'] === true ||
    schema.additionalProperties === true ||
    (schema.type === undefined &&
      schema.properties === undefined &&
      schema.items === undefined &&
      schema['x-kubernetes-int-or-string'] !== true)
  )
}

/** Schema of one member, or undefined where the object does not declare it. */
export function memberSchema(schema: Schema, key: string): Schema | undefined {
  const declared = schema.properties
  if (declared !== undefined && Object.hasOwn(declared, key)) return declared[key]
  if (schema['x-kubernetes-embedded-resource'] === true) {
    if (key === 'apiVersion' || key === 'kind') return string
    if (key === 'metadata') return objectMeta
  }
  if (typeof schema.additionalProperties === 'object') return schema.additionalProperties
  return isOpen(schema) ? untyped : undefined
}

/** What is below an open object: maps merge key by key, lists are replaced whole. */
export const untyped: Schema = {}
