import { randomInt, randomUUID } from 'node:crypto'
import { cleanObject, strictText, validateObject, statesOf, type FieldValidation } from './admission.ts'
import { apiTime, type SimulatedClock } from './clock.ts'
import { invalid, invalidObject } from './field-error.ts'
import { FieldSet } from './field-set.ts'
import { cloneJson, equalJson, isObject, type Json, type JsonObject } from './json.ts'
import {
  finalizersOf,
  generationOf,
  isTerminating,
  objectKey,
  uidOf,
  type KubernetesObject,
} from './kubernetes-object.ts'
import { applyConfiguration, equalButTimes, manageUpdate, type FieldManager } from './managed-fields.ts'
import type { ObjectStore } from './object-store.ts'
import { apiVersionOf, resourceId, type ResourceKind } from './resource-kind.ts'
import { alreadyExists, badRequest, conflict, notFound, plainError, staleVersion, StatusError } from './status-error.ts'

export interface WriteOptions {
  /** Who owns the fields that this write changes. */
  readonly manager: string
  readonly subresource?: '' | 'status'
  readonly dryRun?: boolean
  readonly fieldValidation?: FieldValidation
  /** Members that the body named twice; refused, warned about or ignored as unknown fields are. */
  readonly duplicates?: readonly string[]
  /** Receives what the caller should be told, one `Warning` header each. */
  readonly warnings?: string[]
}

export interface ObjectName {
  readonly namespace: string
  readonly name: string
}

/** The write path of every kind: what may be written, who owns it, and what counts as a change. */
export class ObjectWriter {
  readonly #store: ObjectStore
  readonly #clock: SimulatedClock

  constructor(store: ObjectStore, clock: SimulatedClock) {
    this.#store = store
    this.#clock = clock
  }

  live(kind: ResourceKind, { namespace, name }: ObjectName): KubernetesObject {
    const live = this.#store.get(resourceId(kind), objectKey(namespace, name))
    if (live === undefined) throw notFound(kind, name)
    return inVersion(live, kind)
  }

  create(kind: ResourceKind, namespace: string, sent: KubernetesObject, options: WriteOptions): KubernetesObject {
    const draft = cloneJson(sent)
    if (stringMeta(draft, 'resourceVersion') !== '') {
      throw plainError('resourceVersion should not be set on objects to be created')
    }
    this.#clean(kind, draft, options)
    if (kind.statusSubresource) delete draft['status']
    this.#identify(kind, namespace, draft)
    kind.hooks.prepare?.(draft, undefined)
    validateObject(kind, draft, undefined)
    const manager = this.#fieldManager(kind, options)
    draft.metadata['managedFields'] = manageUpdate(undefined, draft, { schema: kind.schema, manager })
    return this.#insert(kind, draft, options)
  }

  /** PUT: the whole object, or its status. */
  replace(kind: ResourceKind, name: ObjectName, sent: KubernetesObject, options: WriteOptions): KubernetesObject {
    const live = this.live(kind, name)
    const draft = cloneJson(sent)
    const version = stringMeta(draft, 'resourceVersion')
    if (version === '' && kind.custom) {
      throw invalidObject(kind, name.name, [invalid('metadata.resourceVersion', 0, 'must be specified for an update')])
    }
    const uid = stringMeta(draft, 'uid')
    if (uid !== '' && uid !== uidOf(live)) {
      throw conflict(
        kind,
        name.name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${uidOf(live)}`,
      )
    }
    this.#clean(kind, draft, options)
    return this.#update(kind, live, draft, options)
  }

  /** A patch other than apply: `change` gets the live object and gives what it should become. */
  modify(
    kind: ResourceKind,
    name: ObjectName,
    change: (live: KubernetesObject) => Json,
    options: WriteOptions,
  ): KubernetesObject {
    const live = this.live(kind, name)
    const patched = change(live)
    if (!isObject(patched) || !isObject(patched['metadata'])) {
      throw new StatusError({ code: 422, reason: 'Invalid', message: 'the patch does not leave an object behind' })
    }
    // The patch starts from a whole object: type and metadata are there unless it removed them.
    const draft = cloneJson(patched) as KubernetesObject
    const faults = bodyFaults(cleanObject(kind, draft), options)
    if (faults.length > 0 && options.fieldValidation === 'Strict') {
      throw invalidObject({ group: '', kind: '' }, '', [invalid('patch', JSON.stringify(patched), strictText(faults))])
    }
    this.#warn(faults, options)
    return this.#update(kind, live, draft, options)
  }

  /** Server-side apply: creates what is not there. */
  apply(
    kind: ResourceKind,
    name: ObjectName,
    sent: KubernetesObject,
    options: WriteOptions & { readonly force: boolean },
  ): { readonly object: KubernetesObject; readonly created: boolean } {
    const config = cloneJson(sent)
    if (config.metadata['managedFields'] !== undefined) throw badRequest('metadata.managedFields must be nil')
    const found = this.#store.get(resourceId(kind), objectKey(name.namespace, name.name))
    const live = found === undefined ? undefined : inVersion(found, kind)
    if (live === undefined && options.subresource === 'status') throw notFound(kind, name.name)
    const uid = stringMeta(config, 'uid')
    if (live === undefined && uid !== '') {
      const why = `uid mismatch: the provided object specified uid ${uid}, and no existing object was found`
      throw conflict(kind, name.name, why)
    }
    for (const [key, value] of Object.entries(config.metadata)) if (value === null) delete config.metadata[key]
    const merged = applyConfiguration({
      live,
      config,
      schema: kind.schema,
      manager: this.#fieldManager(kind, options),
      force: options.force,
      reset: resetFields(kind, options),
    })
    const draft = cloneJson(merged)
    const managedFields = draft.metadata['managedFields'] ?? []
    cleanObject(kind, draft)
    if (live !== undefined)
      return { object: this.#update(kind, live, draft, { ...options, managedFields }), created: false }
    if (stringMeta(draft, 'name') === '') {
      throw badRequest(`the name of the object (${name.name} based on URL) was undeterminable: name must be provided`)
    }
    this.#identify(kind, name.namespace, draft)
    kind.hooks.prepare?.(draft, undefined)
    validateObject(kind, draft, undefined)
    draft.metadata['managedFields'] = managedFields
    return { object: this.#insert(kind, draft, options), created: true }
  }

  /** For controllers: changes the object in place of a patch, without the checks that strangers need. */
  edit(
    kind: ResourceKind,
    name: ObjectName,
    change: (draft: KubernetesObject) => void,
    options: WriteOptions,
  ): KubernetesObject | undefined {
    if (this.#store.get(resourceId(kind), objectKey(name.namespace, name.name)) === undefined) return undefined
    const live = this.live(kind, name)
    const draft = cloneJson(live)
    change(draft)
    return this.#update(kind, live, draft, options)
  }

  #clean(kind: ResourceKind, draft: KubernetesObject, options: WriteOptions): void {
    const faults = bodyFaults(cleanObject(kind, draft), options)
    if (faults.length > 0 && options.fieldValidation === 'Strict') {
      throw badRequest(
        `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: ${strictText(faults)}`,
      )
    }
    this.#warn(faults, options)
  }

  #warn(faults: readonly string[], options: WriteOptions): void {
    if (options.fieldValidation !== 'Ignore') options.warnings?.push(...faults)
  }

  /** Name, uid, times: what the server alone decides about a new object. */
  #identify(kind: ResourceKind, namespace: string, draft: KubernetesObject): void {
    const prefix = stringMeta(draft, 'generateName')
    if (stringMeta(draft, 'name') === '') draft.metadata.name = prefix === '' ? '' : `${prefix}${randomSuffix()}`
    if (kind.namespaced) draft.metadata['namespace'] = namespace
    else delete draft.metadata['namespace']
    draft.metadata['uid'] = randomUUID()
    draft.metadata['creationTimestamp'] = apiTime(this.#clock.now())
    for (const key of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'selfLink', 'resourceVersion']) {
      delete draft.metadata[key]
    }
    delete draft.metadata['generation']
    if (kind.hasGeneration) draft.metadata['generation'] = 1
  }

  #insert(kind: ResourceKind, draft: KubernetesObject, options: WriteOptions): KubernetesObject {
    const namespace = stringMeta(draft, 'namespace')
    const { name } = draft.metadata
    if (this.#store.get(resourceId(kind), objectKey(namespace, name)) !== undefined) throw alreadyExists(kind, name)
    if (kind.namespaced) this.#requireNamespace(kind, namespace, name)
    if (options.dryRun === true) return draft
    return inVersion(this.#store.put(resourceId(kind), stored(draft, kind)), kind)
  }

  #requireNamespace(kind: ResourceKind, namespace: string, name: string): void {
    const found = this.#store.get('/namespaces', namespace)
    if (found === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace)
    if (!isTerminating(found)) return
    throw new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `${kind.plural}${kind.group === '' ? '' : `.${kind.group}`} ${JSON.stringify(name)} is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
      details: {
        name,
        ...(kind.group === '' ? {} : { group: kind.group }),
        kind: kind.plural,
        causes: [
          {
            reason: 'NamespaceTerminating',
            message: `namespace ${namespace} is being terminated`,
            field: 'metadata.namespace',
          },
        ],
      },
    })
  }

  #update(
    kind: ResourceKind,
    live: KubernetesObject,
    draft: KubernetesObject,
    options: WriteOptions & { readonly managedFields?: Json },
  ): KubernetesObject {
    const wanted = stringMeta(draft, 'resourceVersion')
    if (wanted !== '' && wanted !== live.metadata['resourceVersion']) throw staleVersion(kind, live.metadata.name)
    const { managedFields: sentFields } = draft.metadata
    const next = this.#mergeEndpoint(kind, live, draft, options)
    keepIdentity(kind, live, next)
    if (options.subresource !== 'status') kind.hooks.prepare?.(next, live)
    validateObject(kind, next, live)
    if (kind.hasGeneration && !equalJson(jsonStates(kind, next), jsonStates(kind, live))) {
      next.metadata['generation'] = generationOf(live) + 1
    }
    delete next.metadata['managedFields']
    const base =
      sentFields === undefined ? next : { ...next, metadata: { ...next.metadata, managedFields: sentFields } }
    const managed =
      options.managedFields ??
      manageUpdate(live, base, { schema: kind.schema, manager: this.#fieldManager(kind, options) })
    if (!Array.isArray(managed) || managed.length > 0) next.metadata['managedFields'] = managed
    if (equalButTimes(live, next)) return live
    if (options.dryRun === true) return next
    // The last finalizer is gone: watchers see the deletion and nothing before it.
    if (isTerminating(next) && isFinished(next)) {
      this.#store.remove(resourceId(kind), objectKey(stringMeta(next, 'namespace'), next.metadata.name))
      return next
    }
    return inVersion(this.#store.put(resourceId(kind), stored(next, kind)), kind)
  }

  /** The main endpoint leaves the status alone, and the status endpoint everything else. */
  #mergeEndpoint(
    kind: ResourceKind,
    live: KubernetesObject,
    draft: KubernetesObject,
    options: WriteOptions,
  ): KubernetesObject {
    if (options.subresource === 'status') {
      const next = cloneJson(live)
      delete next['status']
      if (draft['status'] !== undefined) next['status'] = draft['status']
      return next
    }
    if (!kind.statusSubresource) return draft
    delete draft['status']
    if (live['status'] !== undefined) draft['status'] = live['status']
    return draft
  }

  #fieldManager(kind: ResourceKind, options: WriteOptions): FieldManager {
    return {
      name: options.manager,
      apiVersion: apiVersionOf(kind),
      subresource: options.subresource ?? '',
      time: apiTime(this.#clock.now()),
    }
  }
}

function bodyFaults(unknown: readonly string[], { duplicates = [] }: WriteOptions): readonly string[] {
  return [
    ...unknown.map((field) => `unknown field ${JSON.stringify(field)}`),
    ...duplicates.map((field) => `duplicate field ${JSON.stringify(field)}`),
  ]
}

/** The object as one version of its kind shows it: versions differ in nothing but their name. */
export function inVersion(object: KubernetesObject, kind: ResourceKind): KubernetesObject {
  const apiVersion = apiVersionOf(kind)
  return object.apiVersion === apiVersion ? object : { ...object, apiVersion }
}

/** Nothing keeps a deleted object any longer. */
export function isFinished(object: KubernetesObject): boolean {
  if (finalizersOf(object).length > 0) return false
  const spec = object['spec']
  const own = object.kind === 'Namespace' && isObject(spec) ? spec['finalizers'] : undefined
  if (Array.isArray(own) && own.length > 0) return false
  const grace = object.metadata['deletionGracePeriodSeconds']
  return typeof grace !== 'number' || grace === 0
}

function stored(object: KubernetesObject, kind: ResourceKind): KubernetesObject {
  return { ...object, apiVersion: apiVersionOf({ group: kind.group, version: kind.storageVersion }) }
}

function jsonStates(kind: ResourceKind, object: KubernetesObject): JsonObject {
  // Only members of a JSON object are left out.
  return statesOf(kind, object) as JsonObject
}

function keepIdentity(kind: ResourceKind, live: KubernetesObject, next: KubernetesObject): void {
  const uid = stringMeta(next, 'uid')
  if (uid !== '' && uid !== uidOf(live)) {
    throw invalidObject(kind, live.metadata.name, [invalid('metadata.uid', uid, 'field is immutable')])
  }
  const kept = ['name', 'namespace', 'uid', 'resourceVersion', 'generation', 'creationTimestamp', 'generateName']
  for (const key of [...kept, 'deletionTimestamp', 'deletionGracePeriodSeconds', 'selfLink']) {
    const value = live.metadata[key]
    if (value === undefined) delete next.metadata[key]
    else next.metadata[key] = value
  }
  if (!isTerminating(live)) return
  const added = finalizersOf(next).filter((finalizer) => !finalizersOf(live).includes(finalizer))
  if (added.length === 0) return
  const list = added.map((finalizer) => JSON.stringify(finalizer)).join(', ')
  throw invalidObject(kind, live.metadata.name, [
    {
      reason: 'FieldValueForbidden',
      field: 'metadata.finalizers',
      message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
    },
  ])
}

const statusFields = new FieldSet()
statusFields.insert(['f:status'])

function resetFields(kind: ResourceKind, options: WriteOptions): FieldSet {
  if (options.subresource !== 'status') return kind.statusSubresource ? statusFields : new FieldSet()
  const others = new FieldSet()
  for (const key of Object.keys(kind.schema.properties ?? {})) {
    if (!['status', 'apiVersion', 'kind', 'metadata'].includes(key)) others.insert([`f:${key}`])
  }
  for (const key of ['labels', 'annotations', 'finalizers', 'ownerReferences'])
    others.insert(['f:metadata', `f:${key}`])
  return others
}

function stringMeta(object: KubernetesObject, key: string): string {
  const value = object.metadata[key]
  return typeof value === 'string' ? value : ''
}

const letters = 'bcdfghjklmnpqrstvwxz2456789'

function randomSuffix(): string {
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join('')
}
