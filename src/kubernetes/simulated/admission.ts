import { checkRules, hasRules } from './cel-rules.ts'
import { invalidObject, type FieldError } from './field-error.ts'
import { dropUnallowedNulls, dropNulls, applyDefaults, pruneUnknown } from './schema-pruning.ts'
import { isObject } from './json.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { validateMetadata } from './name-rules.ts'
import type { ResourceKind } from './resource-kind.ts'
import { objectMeta } from './schema.ts'
import { validateValue } from './schema-validation.ts'
import { badRequest } from './status-error.ts'

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore'

/**
 * What the server does to every object before it keeps it: unknown fields go (or are refused), nulls go, defaults come.
 * Changes the object.
 */
export function cleanObject(kind: ResourceKind, object: KubernetesObject): string[] {
  dropNulls(object.metadata, objectMeta)
  if (kind.custom) dropUnallowedNulls(object, kind.schema)
  else dropNulls(object, kind.schema)
  const unknown = pruneUnknown(object, kind.schema)
  if (!kind.custom) refuseWrongTypes(kind, object)
  applyDefaults(object, kind.schema)
  return unknown
}

export function strictText(faults: readonly string[]): string {
  return `strict decoding error: ${faults.join(', ')}`
}

/** Typed kinds are decoded into their types first: what does not fit is 400, not 422. */
function refuseWrongTypes(kind: ResourceKind, object: KubernetesObject): void {
  const wrong = validateValue(object, kind.schema, '').find((error) => error.reason === 'FieldValueTypeInvalid')
  if (wrong === undefined) return
  throw badRequest(
    `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: json: cannot unmarshal into field ${wrong.field}: ${wrong.message}`,
  )
}

// Expressions read fields that are there and of the right type: such a fault would break them as well.
const blocksRules: ReadonlySet<FieldError['reason']> = new Set([
  'FieldValueNotSupported',
  'FieldValueRequired',
  'FieldValueTooLong',
  'FieldValueTooMany',
  'FieldValueTypeInvalid',
])
const rulesUnchecked: FieldError = {
  reason: 'FieldValueInvalid',
  field: '<nil>',
  message:
    'Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation',
}

/** Every rule of the kind: metadata, schema, expressions, and what no schema can say. */
export function validateObject(kind: ResourceKind, object: KubernetesObject, live: KubernetesObject | undefined): void {
  const errors: FieldError[] = [...validateMetadata(object, kind.plural === 'namespaces' && kind.group === '')]
  // All of the metadata but its name has been checked.
  const { metadata, ...rest } = object
  const { metadata: metaSchema, ...properties } = kind.schema.properties ?? {}
  errors.push(...validateValue(rest, { ...kind.schema, properties, required: withoutMetadata(kind) }, ''))
  const nameSchema = metaSchema?.properties?.['name']
  if (nameSchema !== undefined) errors.push(...validateValue(metadata.name, nameSchema, 'metadata.name'))
  if (errors.some(({ reason }) => blocksRules.has(reason))) {
    if (hasRules(kind.schema)) errors.push(rulesUnchecked)
  } else errors.push(...checkRules(object, kind.schema, live))
  if (errors.length === 0) errors.push(...(kind.hooks.validate?.(object, live) ?? []))
  if (errors.length > 0) throw invalidObject(kind, object.metadata.name, errors)
}

/** Whether the object says something else than before, beside metadata and status. */
export function statesOf(kind: ResourceKind, object: KubernetesObject): Record<string, unknown> {
  const { metadata: _, status, ...rest } = object
  return kind.statusSubresource || status === undefined || !isObject(status) ? rest : { ...rest, status }
}

function withoutMetadata(kind: ResourceKind): readonly string[] {
  return (kind.schema.required ?? []).filter((name) => name !== 'metadata')
}
