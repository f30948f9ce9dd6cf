import { isObject, type Json, type JsonObject } from './json.ts'

export interface OwnerReference extends JsonObject {
  apiVersion: string
  kind: string
  name: string
  uid: string
}

export interface ManagedFieldsEntry extends JsonObject {
  manager: string
  operation: string
  apiVersion: string
  fieldsType: string
  fieldsV1: JsonObject
}

export interface ObjectMeta extends JsonObject {
  name: string
}

/** An object of the Kubernetes API: whatever the kind, it has a type and metadata. */
export interface KubernetesObject extends JsonObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
}

export interface StatusCondition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
}

export function isKubernetesObject(value: unknown): value is KubernetesObject {
  return (
    isObject(value) &&
    typeof value['apiVersion'] === 'string' &&
    typeof value['kind'] === 'string' &&
    isObject(value['metadata'])
  )
}

export function namespaceOf(object: KubernetesObject): string {
  return metaString(object, 'namespace')
}

export function uidOf(object: KubernetesObject): string {
  return metaString(object, 'uid')
}

export function versionOf(object: KubernetesObject): number {
  return Number(metaString(object, 'resourceVersion') || 0)
}

export function generationOf(object: KubernetesObject): number {
  const generation = object.metadata['generation']
  return typeof generation === 'number' ? generation : 0
}

export function isTerminating(object: KubernetesObject): boolean {
  return metaString(object, 'deletionTimestamp') !== ''
}

export function labelsOf(object: KubernetesObject): Readonly<Record<string, string>> {
  return stringMap(object.metadata['labels'])
}

export function annotationsOf(object: KubernetesObject): Readonly<Record<string, string>> {
  return stringMap(object.metadata['annotations'])
}

export function finalizersOf(object: KubernetesObject): readonly string[] {
  const finalizers = object.metadata['finalizers']
  return Array.isArray(finalizers) ? finalizers.filter((item) => typeof item === 'string') : []
}

export function ownersOf(object: KubernetesObject): readonly OwnerReference[] {
  const owners = object.metadata['ownerReferences']
  return Array.isArray(owners) ? owners.filter(isOwnerReference) : []
}

export function managedFieldsOf(object: KubernetesObject): readonly ManagedFieldsEntry[] {
  const entries = object.metadata['managedFields']
  return Array.isArray(entries) ? entries.filter(isManagedFieldsEntry) : []
}

export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/')
  return slash < 0 ? '' : apiVersion.slice(0, slash)
}

/** The key inside one resource; sorts as the API server's storage does. */
export function objectKey(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`
}

function isOwnerReference(value: Json): value is OwnerReference {
  return isObject(value) && typeof value['uid'] === 'string' && typeof value['kind'] === 'string'
}

function isManagedFieldsEntry(value: Json): value is ManagedFieldsEntry {
  return isObject(value) && typeof value['manager'] === 'string' && isObject(value['fieldsV1'])
}

function metaString(object: KubernetesObject, key: string): string {
  const value = object.metadata[key]
  return typeof value === 'string' ? value : ''
}

function stringMap(value: Json | undefined): Readonly<Record<string, string>> {
  // Values were checked to be strings when the object was written.
  return isObject(value) ? (value as Record<string, string>) : {}
}
