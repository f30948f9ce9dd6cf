import { apiTime, type SimulatedClock } from './clock.ts'
import { forbiddenField, invalid, invalidObject, notSupported } from './field-error.ts'
import { cloneJson, isObject, numberAt, stringAt, textOf, valueAt, type Json } from './json.ts'
import {
  finalizersOf,
  generationOf,
  isTerminating,
  objectKey,
  uidOf,
  type KubernetesObject,
} from './kubernetes-object.ts'
import type { ObjectStore } from './object-store.ts'
import { inVersion, isFinished, type ObjectName } from './object-writer.ts'
import { resourceId, type ResourceKind } from './resource-kind.ts'
import { conflict, notFound, StatusError } from './status-error.ts'

export interface DeleteOptions {
  readonly uid?: string
  readonly resourceVersion?: string
  /** What becomes of the objects that this one owns. @default 'Background' */
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan'
  readonly graceSeconds?: number
  readonly dryRun?: boolean
}

export interface Deletion {
  readonly object: KubernetesObject
  /** False while a finalizer or a grace period keeps the object. */
  readonly gone: boolean
}

/** As on every cluster: nothing works without them. */
const keptNamespaces = new Set(['default', 'kube-system', 'kube-public'])

const cascades = { Foreground: 'foregroundDeletion', Orphan: 'orphan' } as const

/** The delete path: preconditions, finalizers, grace. */
export class ObjectRemover {
  readonly #store: ObjectStore
  readonly #clock: SimulatedClock

  constructor(store: ObjectStore, clock: SimulatedClock) {
    this.#store = store
    this.#clock = clock
  }

  remove(kind: ResourceKind, { namespace, name }: ObjectName, options: DeleteOptions): Deletion {
    const resource = resourceId(kind)
    const live = this.#store.get(resource, objectKey(namespace, name))
    if (live === undefined) throw notFound(kind, name)
    checkPreconditions(kind, live, options)
    if (kind.group === '' && kind.plural === 'namespaces' && keptNamespaces.has(name)) {
      const message = `namespaces ${JSON.stringify(name)} is forbidden: this namespace may not be deleted`
      throw new StatusError({ code: 403, reason: 'Forbidden', message, details: { name, kind: 'namespaces' } })
    }
    const next = this.#mark(kind, live, options)
    if (isFinished(next)) {
      if (options.dryRun === true) return { object: inVersion(live, kind), gone: true }
      const removed = this.#store.remove(resource, objectKey(namespace, name))
      return { object: inVersion(removed ?? live, kind), gone: true }
    }
    if (next === live) return { object: inVersion(live, kind), gone: false }
    if (options.dryRun === true) return { object: inVersion(next, kind), gone: false }
    return { object: inVersion(this.#store.put(resource, next), kind), gone: false }
  }

  /** The object with its deletion written on it; the very same object when that changes nothing. */
  #mark(kind: ResourceKind, live: KubernetesObject, options: DeleteOptions): KubernetesObject {
    const finalizers = new Set(finalizersOf(live))
    const cascade =
      options.propagation === undefined ? undefined : cascades[options.propagation as keyof typeof cascades]
    if (options.propagation !== undefined) for (const known of Object.values(cascades)) finalizers.delete(known)
    if (cascade !== undefined) finalizers.add(cascade)
    const grace = options.graceSeconds ?? kind.hooks.graceSeconds?.(live) ?? 0
    const allowed = kind.hooks.graceSeconds === undefined ? undefined : grace
    const before = live.metadata['deletionGracePeriodSeconds']
    const shorter = allowed !== undefined && (typeof before !== 'number' || allowed < before)
    const sameFinalizers =
      finalizers.size === finalizersOf(live).length && finalizersOf(live).every((f) => finalizers.has(f))
    if (isTerminating(live) && sameFinalizers && !shorter) return live
    const next = cloneJson(live)
    if (finalizers.size > 0) next.metadata['finalizers'] = [...finalizers]
    else delete next.metadata['finalizers']
    if (shorter) next.metadata['deletionGracePeriodSeconds'] = allowed
    if (!isTerminating(live)) {
      next.metadata['deletionTimestamp'] = apiTime(this.#clock.now() + grace * 1000)
      next.metadata['deletionGracePeriodSeconds'] ??= 0
      if (generationOf(live) > 0) next.metadata['generation'] = generationOf(live) + 1
      if (kind.plural === 'namespaces' && kind.group === '') next['status'] = { phase: 'Terminating' }
    }
    return next
  }
}

function checkPreconditions(kind: ResourceKind, live: KubernetesObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options
  const name = live.metadata.name
  if (uid !== undefined && uid !== uidOf(live)) {
    throw conflict(kind, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${uidOf(live)}`)
  }
  const version = textOf(live.metadata['resourceVersion'])
  if (resourceVersion !== undefined && resourceVersion !== version) {
    throw conflict(
      kind,
      name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${version}`,
    )
  }
}

const optionsKind = { group: 'meta.k8s.io', kind: 'DeleteOptions' }

/** From the body of a DELETE (the API's DeleteOptions) and its query, which wins where both speak. */
export function parseDeleteOptions(body: Json | undefined, query: URLSearchParams): DeleteOptions {
  const propagation = query.get('propagationPolicy') ?? stringAt(body, 'propagationPolicy')
  const orphan = query.get('orphanDependents') ?? valueAt(body, 'orphanDependents')
  const grace = query.has('gracePeriodSeconds')
    ? Number(query.get('gracePeriodSeconds'))
    : numberAt(body, 'gracePeriodSeconds')
  if (propagation !== undefined && orphan !== undefined && orphan !== null) {
    throw invalidObject(optionsKind, '', [
      invalid('propagationPolicy', propagation, 'orphanDependents and deletionPropagation cannot be both set'),
    ])
  }
  if (propagation !== undefined && !isPropagation(propagation)) {
    throw invalidObject(optionsKind, '', [
      notSupported('propagationPolicy', propagation, ['Foreground', 'Background', 'Orphan']),
    ])
  }
  if (grace !== undefined && (!Number.isInteger(grace) || grace < 0)) {
    throw invalidObject(optionsKind, '', [forbiddenField('gracePeriodSeconds', 'must be a non-negative integer')])
  }
  const preconditions = valueAt(body, 'preconditions')
  const uid = isObject(preconditions) ? stringAt(preconditions, 'uid') : undefined
  const resourceVersion = isObject(preconditions) ? stringAt(preconditions, 'resourceVersion') : undefined
  const chosen = propagation ?? (orphan === true || orphan === 'true' ? 'Orphan' : undefined)
  return {
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(chosen === undefined ? {} : { propagation: chosen }),
    ...(grace === undefined ? {} : { graceSeconds: grace }),
    dryRun: query.getAll('dryRun').includes('All') || isDryRun(valueAt(body, 'dryRun')),
  }
}

function isDryRun(value: Json | undefined): boolean {
  return Array.isArray(value) && value.includes('All')
}

function isPropagation(value: string): value is 'Background' | 'Foreground' | 'Orphan' {
  return value === 'Background' || value === 'Foreground' || value === 'Orphan'
}
