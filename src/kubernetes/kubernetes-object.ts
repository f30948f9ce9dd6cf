/** Metadata as the API server returns it. `resourceVersion` and `uid` are never absent on a stored object. */
export interface ObjectMeta {
  readonly name: string
  readonly namespace?: string
  readonly uid: string
  readonly resourceVersion: string
  /** Grows with every change of the spec and with deletion; kinds without a spec have none. */
  readonly generation?: number
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ownerReferences?: readonly OwnerReference[]
  readonly finalizers?: readonly string[]
  readonly managedFields?: readonly unknown[]
}

export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
}

/** An object as the API server returned it. Fields besides these are whatever the kind defines: check before use. */
export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
  readonly [field: string]: unknown
}

/** An object that we send: what the server stamps is absent. */
export interface DesiredObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: Partial<Omit<ObjectMeta, 'name'>> & { readonly name: string }
  readonly [field: string]: unknown
}

export interface ObjectRef {
  readonly apiVersion: string
  readonly kind: string
  /** Absent for cluster-scoped kinds. */
  readonly namespace?: string
  readonly name: string
}

/** The name under which a namespace's objects are unique in one resource. */
export function objectKey(meta: { readonly namespace?: string | undefined; readonly name: string }): string {
  return meta.namespace ? `${meta.namespace}/${meta.name}` : meta.name
}

export function refOf(object: DesiredObject): ObjectRef {
  const { namespace, name } = object.metadata
  return { apiVersion: object.apiVersion, kind: object.kind, name, ...(namespace !== undefined && { namespace }) }
}

/** `Project acme` or `VirtualMachine team-a/web`: how messages name an object. */
export function describeRef(ref: ObjectRef): string {
  return `${ref.kind} ${objectKey(ref)}`
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether `value` is a stored object: everything behind it may rely on name, uid and resourceVersion. */
export function isKubernetesObject(value: unknown): value is KubernetesObject {
  if (!isRecord(value) || !isRecord(value['metadata'])) return false
  const { name, uid, resourceVersion } = value['metadata']
  return typeof name === 'string' && typeof uid === 'string' && typeof resourceVersion === 'string'
}

/**
 * Compares two resource versions of one resource: negative when `a` is older. `undefined` when one is no decimal
 * number, as with an aggregated server of its own ideas (the built-in ones are comparable since Kubernetes 1.35 by
 * promise, and before by construction).
 */
export function compareVersions(a: string, b: string): number | undefined {
  if (!/^[1-9]\d*$/.test(a) || !/^[1-9]\d*$/.test(b)) return undefined
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : a > b ? 1 : 0
}
