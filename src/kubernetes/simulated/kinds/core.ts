import { defineKind } from '../define-kind.ts'
import { forbiddenField, type FieldError } from '../field-error.ts'
import { equalJson, isObject, numberAt, stringAt, textOf, type Json } from '../json.ts'
import type { KubernetesObject } from '../kubernetes-object.ts'
import { validateDataKeys } from '../name-rules.ts'
import { anything, boolean, conditions, dateTime, int32, object, setOf, string, stringMap } from '../schema.ts'

export const namespaceKind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  shortNames: ['ns'],
  namespaced: false,
  hasGeneration: false,
  schema: object({
    spec: object({ finalizers: setOf(string) }),
    status: object({ phase: string, conditions }),
  }),
  columns: [{ name: 'Status', type: 'string', value: '.status.phase' }],
  selectableFields: ['status.phase'],
  hooks: {
    prepare(namespace, live) {
      const labels = isObject(namespace.metadata['labels']) ? namespace.metadata['labels'] : {}
      namespace.metadata['labels'] = { ...labels, 'kubernetes.io/metadata.name': namespace.metadata.name }
      if (live !== undefined) return
      namespace['spec'] = { finalizers: ['kubernetes'] }
      namespace['status'] = { phase: 'Active' }
    },
  },
})

export const configMapKind = defineKind({
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  shortNames: ['cm'],
  namespaced: true,
  hasGeneration: false,
  statusSubresource: false,
  schema: object({ data: stringMap, binaryData: stringMap, immutable: boolean }),
  columns: [
    {
      name: 'Data',
      type: 'integer',
      value: (object) =>
        Object.keys(members(object['data'])).length + Object.keys(members(object['binaryData'])).length,
    },
  ],
  hooks: { validate: validateData },
})

export const secretKind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  namespaced: true,
  hasGeneration: false,
  statusSubresource: false,
  schema: object({
    type: { type: 'string', default: 'Opaque' },
    data: { type: 'object', additionalProperties: { type: 'string', format: 'byte' } },
    stringData: stringMap,
    immutable: boolean,
  }),
  columns: [
    { name: 'Type', type: 'string', value: '.type' },
    { name: 'Data', type: 'integer', value: (object) => Object.keys(members(object['data'])).length },
  ],
  selectableFields: ['type'],
  hooks: {
    prepare(secret) {
      // Write-only: what was sent as text is kept encoded, and text wins.
      const text = members(secret['stringData'])
      delete secret['stringData']
      if (Object.keys(text).length === 0) return
      const data = { ...members(secret['data']) }
      for (const [key, value] of Object.entries(text)) data[key] = Buffer.from(textOf(value)).toString('base64')
      secret['data'] = data
    },
    validate(next, live) {
      const errors = validateData(next, live)
      if (live !== undefined && next['type'] !== live['type']) errors.push(forbiddenField('type', 'field is immutable'))
      return errors
    },
  },
})

const objectReference = object({
  apiVersion: string,
  kind: string,
  namespace: string,
  name: string,
  uid: string,
  resourceVersion: string,
  fieldPath: string,
})

export const eventKind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  shortNames: ['ev'],
  namespaced: true,
  hasGeneration: false,
  statusSubresource: false,
  schema: object({
    involvedObject: { ...objectReference, 'x-kubernetes-map-type': 'atomic' },
    related: { ...objectReference, 'x-kubernetes-map-type': 'atomic' },
    reason: string,
    message: string,
    type: string,
    action: string,
    count: int32,
    firstTimestamp: dateTime,
    lastTimestamp: dateTime,
    eventTime: dateTime,
    source: object({ component: string, host: string }),
    reportingComponent: string,
    reportingInstance: string,
    series: anything,
  }),
  columns: [
    { name: 'Last Seen', type: 'string', value: (event, now) => lastSeen(event, now) },
    { name: 'Type', type: 'string', value: '.type' },
    { name: 'Reason', type: 'string', value: '.reason' },
    { name: 'Object', type: 'string', value: (event) => involved(event) },
    { name: 'Message', type: 'string', value: '.message' },
    { name: 'Count', type: 'integer', priority: 1, value: (event) => numberAt(event, 'count') },
  ],
  selectableFields: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
})

function members(value: Json | undefined): Readonly<Record<string, Json>> {
  return isObject(value) ? value : {}
}

function validateData(next: KubernetesObject, live: KubernetesObject | undefined): FieldError[] {
  const errors = ['data', 'binaryData'].flatMap((field) => validateDataKeys(field, next[field]))
  if (live?.['immutable'] !== true) return errors
  if (next['immutable'] !== true) errors.push(forbiddenField('immutable', 'field is immutable when `immutable` is set'))
  for (const field of ['data', 'binaryData']) {
    if (!equalJson(next[field], live[field])) {
      errors.push(forbiddenField(field, 'field is immutable when `immutable` is set'))
    }
  }
  return errors
}

function lastSeen(event: KubernetesObject, now: number): string {
  const at = stringAt(event, 'lastTimestamp') ?? stringAt(event, 'eventTime')
  return at === undefined ? '<unknown>' : `${Math.max(0, Math.round((now - Date.parse(at)) / 1000))}s`
}

function involved(event: KubernetesObject): string {
  const kind = stringAt(event, 'involvedObject', 'kind') ?? ''
  return `${kind.toLowerCase()}/${stringAt(event, 'involvedObject', 'name') ?? ''}`
}
