import type { SimulatedClock } from '../clock.ts'
import { cloneJson } from '../json.ts'
import { finalizersOf, groupOf, isTerminating, ownersOf, uidOf, type KubernetesObject } from '../kubernetes-object.ts'
import type { ObjectRemover } from '../object-remover.ts'
import type { ObjectStore, StoreEvent } from '../object-store.ts'
import type { ObjectWriter } from '../object-writer.ts'
import type { KindRegistry, ResourceKind } from '../resource-kind.ts'
import { resourceId } from '../resource-kind.ts'
import { nameOf } from './controller.ts'

interface Place {
  readonly resource: string
  readonly key: string
}

interface Parts {
  readonly store: ObjectStore
  readonly writer: ObjectWriter
  readonly remover: ObjectRemover
  readonly kinds: KindRegistry
  readonly clock: SimulatedClock
}

const manager = { manager: 'garbage-collector' }

/** Deletes what its owners leave behind, and obeys the finalizers `foregroundDeletion` and `orphan`. */
export class GarbageCollector {
  readonly #parts: Parts
  readonly #places = new Map<string, Place>()
  readonly #dependents = new Map<string, Set<string>>()
  readonly #queue = new Set<string>()
  readonly #unsubscribe: () => void
  #cancel: (() => void) | undefined

  constructor(parts: Parts) {
    this.#parts = parts
    for (const resource of parts.store.resources()) {
      for (const [key, object] of parts.store.objects(resource)) this.#index(object, { resource, key })
    }
    for (const owner of this.#dependents.keys()) this.#enqueue(owner)
    this.#unsubscribe = parts.store.subscribe((event) => this.#changed(event))
  }

  stop(): void {
    this.#unsubscribe()
    this.#cancel?.()
    this.#queue.clear()
  }

  #changed(event: StoreEvent): void {
    const uid = uidOf(event.object)
    if (event.type === 'DELETED') {
      this.#places.delete(uid)
      for (const owner of ownersOf(event.object)) {
        this.#dependents.get(owner.uid)?.delete(uid)
        this.#enqueue(owner.uid)
      }
      if (this.#dependents.has(uid)) this.#enqueue(uid)
      return
    }
    this.#index(event.object, event)
    for (const owner of ownersOf(event.object)) if (!this.#places.has(owner.uid)) this.#enqueue(owner.uid)
    if (isTerminating(event.object) && cascadeOf(event.object) !== undefined) this.#enqueue(uid)
  }

  #index(object: KubernetesObject, { resource, key }: Place): void {
    this.#places.set(uidOf(object), { resource, key })
    for (const { uid } of ownersOf(object)) {
      const dependents = this.#dependents.get(uid) ?? new Set()
      dependents.add(uidOf(object))
      this.#dependents.set(uid, dependents)
    }
  }

  #enqueue(uid: string): void {
    this.#queue.add(uid)
    this.#cancel ??= this.#parts.clock.schedule(() => {
      this.#cancel = undefined
      const due = [...this.#queue]
      this.#queue.clear()
      for (const owner of due) this.#collect(owner)
    }, 0)
  }

  #collect(uid: string): void {
    const owner = this.#find(uid)
    const dependents = [...(this.#dependents.get(uid) ?? [])]
      .map((dependent) => this.#find(dependent))
      .filter((found) => found !== undefined)
      .filter(({ object }) => ownersOf(object).some((reference) => reference.uid === uid))
    if (owner === undefined) {
      for (const dependent of dependents) this.#releaseOrDelete(dependent, uid)
      this.#dependents.delete(uid)
      return
    }
    const cascade = isTerminating(owner.object) ? cascadeOf(owner.object) : undefined
    if (cascade === undefined) return
    if (cascade === 'orphan') for (const dependent of dependents) this.#disown(dependent, uid)
    else for (const { kind, object } of dependents) this.#delete(kind, object, 'Foreground')
    const left = cascade === 'orphan' ? 0 : dependents.length
    if (left === 0) this.#dropFinalizer(owner, cascade)
  }

  #releaseOrDelete(dependent: { readonly kind: ResourceKind; readonly object: KubernetesObject }, uid: string): void {
    const { kind, object } = dependent
    const gone = ownersOf(object).find((reference) => reference.uid === uid)
    // An owner of a kind that is not served may well exist elsewhere.
    if (gone === undefined || this.#parts.kinds.forKind(groupOf(gone.apiVersion), gone.kind) === undefined) return
    const others = ownersOf(object).some((reference) => reference.uid !== uid && this.#places.has(reference.uid))
    if (others) this.#disown(dependent, uid)
    else this.#delete(kind, object, 'Background')
  }

  #disown({ kind, object }: { readonly kind: ResourceKind; readonly object: KubernetesObject }, uid: string): void {
    const drop = (draft: KubernetesObject): void => {
      const rest = ownersOf(object).filter((reference) => reference.uid !== uid)
      if (rest.length === 0) delete draft.metadata['ownerReferences']
      else draft.metadata['ownerReferences'] = rest.map((reference) => cloneJson(reference))
    }
    this.#parts.writer.edit(kind, nameOf(object), drop, manager)
  }

  #delete(kind: ResourceKind, object: KubernetesObject, propagation: 'Background' | 'Foreground'): void {
    if (!isTerminating(object)) this.#parts.remover.remove(kind, nameOf(object), { uid: uidOf(object), propagation })
  }

  #dropFinalizer(
    { kind, object }: { readonly kind: ResourceKind; readonly object: KubernetesObject },
    name: string,
  ): void {
    const drop = (draft: KubernetesObject): void => {
      draft.metadata['finalizers'] = finalizersOf(draft).filter((finalizer) => finalizer !== name)
    }
    this.#parts.writer.edit(kind, nameOf(object), drop, manager)
  }

  #find(uid: string): { readonly kind: ResourceKind; readonly object: KubernetesObject } | undefined {
    const place = this.#places.get(uid)
    if (place === undefined) return undefined
    const object = this.#parts.store.get(place.resource, place.key)
    const kind = this.#parts.kinds.resources().find((known) => resourceId(known) === place.resource)
    return object === undefined || kind === undefined || uidOf(object) !== uid ? undefined : { kind, object }
  }
}

function cascadeOf(object: KubernetesObject): 'foregroundDeletion' | 'orphan' | undefined {
  const finalizers = finalizersOf(object)
  if (finalizers.includes('orphan')) return 'orphan'
  return finalizers.includes('foregroundDeletion') ? 'foregroundDeletion' : undefined
}
