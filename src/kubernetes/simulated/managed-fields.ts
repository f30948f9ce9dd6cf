import { FieldSet, pathText } from './field-set.ts'
import { equalJson, isObject, type Json, type JsonObject } from './json.ts'
import { managedFieldsOf, type KubernetesObject, type ManagedFieldsEntry } from './kubernetes-object.ts'
import type { Schema } from './schema.ts'
import { plainError, StatusError, type StatusCause } from './status-error.ts'
import { compareValues, fieldsOf, mergeValues, removeFields } from './typed-value.ts'

export interface FieldManager {
  readonly name: string
  readonly apiVersion: string
  /** `status` for writes through that subresource, else empty. */
  readonly subresource: string
  /** RFC 3339, to the second. */
  readonly time: string
}

interface Owner {
  readonly manager: string
  readonly operation: 'Apply' | 'Update'
  readonly apiVersion: string
  readonly subresource: string
  readonly time: string
  readonly set: FieldSet
  /** What the owner was read from, as long as the set is the same. */
  readonly entry?: ManagedFieldsEntry
}

/** Fields that nobody owns: the server writes them, or they say which object it is. */
const unowned = new FieldSet()
for (const path of ['apiVersion', 'kind', 'metadata']) unowned.insert([`f:${path}`])
for (const name of [
  'name',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'selfLink',
  'managedFields',
]) {
  unowned.insert(['f:metadata', `f:${name}`])
}

/** Managed fields after a create, replace or patch: what the writer changed is the writer's now. */
export function manageUpdate(
  live: KubernetesObject | undefined,
  next: KubernetesObject,
  options: { readonly schema: Schema; readonly manager: FieldManager },
): Json[] {
  const { schema, manager } = options
  const base = live ?? { apiVersion: next.apiVersion, kind: next.kind, metadata: {} }
  const changes = compareValues(base, next, schema)
  const taken = changes.added.union(changes.modified)
  const self = ownerKey({ ...manager, manager: manager.name, operation: 'Update' })
  const owners: Owner[] = []
  let own = taken.minus(unowned)
  let ownBefore: Owner | undefined
  for (const owner of ownersBefore(live, next)) {
    if (ownerKey(owner) === self) {
      ownBefore = owner
      own = own.union(owner.set.minus(changes.removed))
      continue
    }
    const set = owner.set.minus(taken).minus(changes.removed)
    if (!set.isEmpty()) owners.push(withSet(owner, set))
  }
  if (!own.isEmpty()) {
    const time = ownBefore !== undefined && ownBefore.set.equals(own) && taken.isEmpty() ? ownBefore.time : manager.time
    const { name, apiVersion, subresource } = manager
    owners.push({ manager: name, operation: 'Update', apiVersion, subresource, time, set: own })
  }
  return encodeOwners(owners)
}

export interface ApplyRequest {
  readonly live: KubernetesObject | undefined
  readonly config: KubernetesObject
  readonly schema: Schema
  readonly manager: FieldManager
  readonly force: boolean
  /** Fields that this endpoint does not write, such as `status` on the main resource. */
  readonly reset: FieldSet
}

/** Server-side apply: merges, gives up what the manager no longer states, and refuses to take what others own. */
export function applyConfiguration(request: ApplyRequest): KubernetesObject {
  const { config, schema, manager } = request
  const live: JsonObject = request.live ?? {
    apiVersion: config.apiVersion,
    kind: config.kind,
    metadata: identityOf(config),
  }
  const stated = statedFields(config, schema)
  const self = ownerKey({ ...manager, manager: manager.name, operation: 'Apply' })
  const before = request.live === undefined ? [] : ownersOfLive(request.live, manager, schema)
  const ownBefore = before.find((owner) => ownerKey(owner) === self)
  const others = before.filter((owner) => owner !== ownBefore)
  const own = stated.minus(unowned).minusTree(request.reset)

  const cleaned = removeFields(config, request.reset, schema) ?? config
  let merged = mergeValues(live, cleaned, schema)
  if (ownBefore !== undefined) {
    let owned = own.withNamedParents()
    for (const other of others) owned = owned.union(other.set.withNamedParents())
    const givenUp = ownBefore.set.withNamedParents().minus(owned).minus(unowned)
    merged = removeFields(merged, givenUp, schema) ?? merged
  }

  const changes = compareValues(live, merged, schema)
  const taken = changes.added.union(changes.modified)
  const conflicts = others.map((owner) => ({ owner, set: owner.set.intersect(taken) }))
  if (!request.force) refuseConflicts(conflicts)
  const owners: Owner[] = []
  for (const { owner, set } of conflicts) {
    const rest = owner.set.minus(set).minus(changes.removed)
    if (!rest.isEmpty()) owners.push(withSet(owner, rest))
  }
  const unchanged = ownBefore !== undefined && ownBefore.set.equals(own) && taken.isEmpty() && changes.removed.isEmpty()
  const time = unchanged ? ownBefore.time : manager.time
  const { name, apiVersion, subresource } = manager
  if (!own.isEmpty()) owners.push({ manager: name, operation: 'Apply', apiVersion, subresource, time, set: own })
  // Merging two objects gives an object, and its type and metadata came with both.
  const result = merged as KubernetesObject
  return { ...result, metadata: { ...result.metadata, managedFields: encodeOwners(owners) } }
}

/** Whether two objects differ in nothing but the times of their managed fields. */
export function equalButTimes(left: KubernetesObject, right: KubernetesObject): boolean {
  return equalJson(withoutTimes(left), withoutTimes(right))
}

function withoutTimes(object: KubernetesObject): JsonObject {
  const entries = managedFieldsOf(object).map((entry) => ({ ...entry, time: '' }))
  return { ...object, metadata: { ...object.metadata, resourceVersion: '', managedFields: entries } }
}

function statedFields(config: KubernetesObject, schema: Schema): FieldSet {
  const { set, errors } = fieldsOf(config, schema)
  if (errors.length === 0) return set
  const namespace = config.metadata['namespace']
  const name = `${typeof namespace === 'string' ? namespace : ''}/${config.metadata.name}`
  const text = errors.length === 1 ? errors[0] : `errors:\n${errors.map((error) => `  ${error}`).join('\n')}`
  throw plainError(
    `failed to create typed patch object (${name}; ${config.apiVersion}, Kind=${config.kind}): ${text ?? ''}`,
  )
}

function identityOf(object: KubernetesObject): JsonObject {
  const { name, namespace } = object.metadata
  return namespace === undefined ? { name } : { name, namespace }
}

function refuseConflicts(conflicts: readonly { readonly owner: Owner; readonly set: FieldSet }[]): void {
  const causes: StatusCause[] = []
  const byManager: { readonly manager: string; readonly fields: string[] }[] = []
  for (const { owner, set } of conflicts) {
    const fields = set.paths().map(pathText)
    if (fields.length === 0) continue
    const manager = managerText(owner)
    byManager.push({ manager, fields })
    for (const field of fields) {
      causes.push({ reason: 'FieldManagerConflict', message: `conflict with ${manager}`, field })
    }
  }
  if (causes.length === 0) return
  throw new StatusError({
    code: 409,
    reason: 'Conflict',
    message: `Apply failed with ${causes.length} ${causes.length === 1 ? 'conflict' : 'conflicts'}: ${conflictText(byManager)}`,
    details: { causes },
  })
}

function conflictText(byManager: readonly { readonly manager: string; readonly fields: readonly string[] }[]): string {
  const parts = byManager.map(({ manager, fields }) =>
    fields.length === 1
      ? `conflict with ${manager}: ${fields[0] ?? ''}`
      : `conflicts with ${manager}:\n${fields.map((field) => `- ${field}`).join('\n')}`,
  )
  return parts.join('\n')
}

function managerText(owner: Owner): string {
  const subresource = owner.subresource === '' ? '' : ` with subresource ${JSON.stringify(owner.subresource)}`
  const version = owner.operation === 'Update' ? ` using ${owner.apiVersion}` : ''
  return `${JSON.stringify(owner.manager)}${subresource}${version}`
}

function ownersOfLive(live: KubernetesObject, manager: FieldManager, schema: Schema): Owner[] {
  const entries = managedFieldsOf(live)
  if (entries.length > 0) return entries.map(decodeOwner)
  // Somebody reset the managed fields: all that is there has an owner again, as upstream names it.
  const changes = compareValues({ apiVersion: live.apiVersion, kind: live.kind, metadata: {} }, live, schema)
  const set = changes.added.minus(unowned)
  const { apiVersion, time } = manager
  return [{ manager: 'before-first-apply', operation: 'Update', apiVersion, subresource: '', time, set }]
}

function ownersBefore(live: KubernetesObject | undefined, next: KubernetesObject): Owner[] {
  const sent = next.metadata['managedFields']
  if (Array.isArray(sent) && sent.length === 1 && isObject(sent[0]) && Object.keys(sent[0]).length === 0) return []
  const entries = managedFieldsOf(next)
  if (entries.length > 0) return entries.map(decodeOwner)
  return live === undefined ? [] : managedFieldsOf(live).map(decodeOwner)
}

function decodeOwner(entry: ManagedFieldsEntry): Owner {
  return {
    manager: entry.manager,
    operation: entry.operation === 'Apply' ? 'Apply' : 'Update',
    apiVersion: entry.apiVersion,
    subresource: typeof entry['subresource'] === 'string' ? entry['subresource'] : '',
    time: typeof entry['time'] === 'string' ? entry['time'] : '',
    set: FieldSet.fromFieldsV1(entry.fieldsV1),
    entry,
  }
}

function withSet(owner: Owner, set: FieldSet): Owner {
  if (set.equals(owner.set)) return owner
  const { entry: _, ...rest } = owner
  return { ...rest, set }
}

function encodeOwners(owners: readonly Owner[]): Json[] {
  const order = (owner: Owner): string =>
    `${owner.operation}\0${owner.time}\0${owner.manager}\0${owner.apiVersion}\0${owner.subresource}`
  const sorted = [...owners].sort((left, right) => (order(left) < order(right) ? -1 : 1))
  return sorted.map((owner) => owner.entry ?? encodeOwner(owner))
}

function encodeOwner(owner: Owner): JsonObject {
  return {
    manager: owner.manager,
    operation: owner.operation,
    apiVersion: owner.apiVersion,
    time: owner.time,
    fieldsType: 'FieldsV1',
    fieldsV1: owner.set.toFieldsV1(),
    ...(owner.subresource === '' ? {} : { subresource: owner.subresource }),
  }
}

/** An applier is the same one whatever version it applies with; an updater is not. */
function ownerKey(owner: Omit<Owner, 'set' | 'time' | 'entry'>): string {
  const version = owner.operation === 'Apply' ? '' : owner.apiVersion
  return `${owner.operation}\0${owner.manager}\0${version}\0${owner.subresource}`
}
