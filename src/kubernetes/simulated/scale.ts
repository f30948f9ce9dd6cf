import { invalid, invalidObject } from './field-error.ts'
import { defineMember, isObject, numberAt, objectAt, stringAt, textOf, type Json, type JsonObject } from './json.ts'
import { childPathValue } from './json-path.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import type { ScalePaths } from './resource-kind.ts'
import { badRequest } from './status-error.ts'

/** The object's number of replicas, as every kind with a scale shows it. */
export function scaleOf(object: KubernetesObject, paths: ScalePaths): KubernetesObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata
  const metadata: JsonObject = {}
  for (const [key, value] of Object.entries({ name, namespace, uid, resourceVersion, creationTimestamp })) {
    if (value !== undefined) metadata[key] = value
  }
  const selector = paths.labelSelector === undefined ? undefined : childPathValue(object, paths.labelSelector)
  const status: JsonObject = { replicas: numeric(childPathValue(object, paths.statusReplicas)) }
  if (selector !== undefined) status['selector'] = typeof selector === 'string' ? selector : selectorText(selector)
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: { ...metadata, name: object.metadata.name },
    spec: { replicas: numeric(childPathValue(object, paths.specReplicas)) },
    status,
  }
}

/** Writes the wanted number into a copy of the object. */
export function withReplicas(object: KubernetesObject, scale: Json, paths: ScalePaths): KubernetesObject {
  if (!isObject(scale) || scale['kind'] !== 'Scale') throw badRequest('the object provided is not a Scale')
  const replicas = numberAt(scale, 'spec', 'replicas') ?? 0
  if (!Number.isInteger(replicas) || replicas < 0) {
    throw invalidObject({ group: 'autoscaling', kind: 'Scale' }, object.metadata.name, [
      invalid('spec.replicas', replicas, 'must be greater than or equal to 0'),
    ])
  }
  const version = stringAt(scale, 'metadata', 'resourceVersion') ?? ''
  const steps = paths.specReplicas.split('.').filter((step) => step !== '')
  // Replacing members along a path keeps the rest of the object as it is.
  const changed = setAt(object, steps, replicas) as KubernetesObject
  return version === '' ? changed : { ...changed, metadata: { ...changed.metadata, resourceVersion: version } }
}

function setAt(value: JsonObject, [step = '', ...rest]: readonly string[], leaf: Json): JsonObject {
  const copy = { ...value }
  defineMember(copy, step, rest.length === 0 ? leaf : setAt(objectAt(value, step) ?? {}, rest, leaf))
  return copy
}

function numeric(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0
}

function selectorText(selector: Json): string {
  const labels = objectAt(selector, 'matchLabels') ?? {}
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${textOf(value)}`)
    .join(',')
}
