import type { Journal, JournalEntry } from './journal.ts'
import { namespaceOf, objectKey, versionOf, type KubernetesObject } from './kubernetes-object.ts'

export interface StoreEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly resource: string
  readonly key: string
  readonly version: number
  /** The object after the change; for a deletion its last state, under the deletion's resourceVersion. */
  readonly object: KubernetesObject
  readonly previous: KubernetesObject | undefined
}

/** A new cluster starts here, so that a test can move its counter back, as restoring a backup does. */
const firstVersion = 1_000_000

/**
 * All objects, and the one counter that orders their changes. Synchronous: what happens between two awaits is atomic.
 * Objects handed out are shared and must not be changed.
 */
export class ObjectStore {
  readonly #resources = new Map<string, Map<string, KubernetesObject>>()
  readonly #listeners = new Set<(event: StoreEvent) => void>()
  readonly #sortedKeys = new Map<string, readonly string[]>()
  readonly #journal: Journal | undefined
  #version: number

  constructor(journal?: Journal, entries: readonly JournalEntry[] = []) {
    this.#journal = journal
    let last = 0
    for (const { version, resource, key, object } of entries) {
      if (object !== undefined) this.#of(resource).set(key, object)
      last = Math.max(last, version)
    }
    this.#version = last === 0 ? firstVersion : last
  }

  get version(): number {
    return this.#version
  }

  get(resource: string, key: string): KubernetesObject | undefined {
    return this.#resources.get(resource)?.get(key)
  }

  count(resource: string): number {
    return this.#resources.get(resource)?.size ?? 0
  }

  objects(resource: string): ReadonlyMap<string, KubernetesObject> {
    return this.#of(resource)
  }

  resources(): readonly string[] {
    return [...this.#resources.keys()]
  }

  /** Keys in the order of the API server's storage. */
  keys(resource: string): readonly string[] {
    const known = this.#sortedKeys.get(resource)
    if (known !== undefined) return known
    const keys = [...this.#of(resource).keys()].sort()
    this.#sortedKeys.set(resource, keys)
    return keys
  }

  /** Writes the object under the next resourceVersion and tells everybody. */
  put(resource: string, draft: KubernetesObject): KubernetesObject {
    const key = objectKey(namespaceOf(draft), draft.metadata.name)
    const objects = this.#of(resource)
    const previous = objects.get(key)
    this.#version += 1
    const object = withVersion(draft, this.#version)
    this.#journal?.append({ version: this.#version, resource, key, object }, jsonOf(object))
    objects.set(key, object)
    // The old state is kept for a while by the watch history; hardly anybody reads its text again.
    if (previous !== undefined) texts.delete(previous)
    if (previous === undefined) this.#sortedKeys.delete(resource)
    const type = previous === undefined ? 'ADDED' : 'MODIFIED'
    this.#publish({ type, resource, key, version: this.#version, object, previous })
    return object
  }

  remove(resource: string, key: string): KubernetesObject | undefined {
    const previous = this.get(resource, key)
    if (previous === undefined) return undefined
    this.#version += 1
    this.#journal?.append({ version: this.#version, resource, key, object: undefined }, undefined)
    this.#of(resource).delete(key)
    this.#sortedKeys.delete(resource)
    const object = withVersion(previous, this.#version)
    this.#publish({ type: 'DELETED', resource, key, version: this.#version, object, previous })
    return object
  }

  /** Called after each change, in order, before the writer gets its answer. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes a version without a change, as writes to other resources do. */
  skipVersion(): void {
    this.#version += 1
  }

  /** The counter and every object fall back, as if an older backup had been restored. Nobody is told. */
  rewind(by: number): void {
    this.#version = Math.max(1, this.#version - by)
    for (const objects of this.#resources.values()) {
      for (const [key, object] of objects) {
        objects.set(key, withVersion(object, Math.max(1, Math.min(this.#version, versionOf(object) - by))))
      }
    }
    this.#compact()
  }

  close(): void {
    this.#listeners.clear()
    this.#journal?.close()
  }

  #publish(event: StoreEvent): void {
    for (const listener of this.#listeners) listener(event)
    if (this.#journal?.wantsCompaction === true) this.#compact()
  }

  #compact(): void {
    const objects: (readonly [string, string, string])[] = []
    for (const [resource, members] of this.#resources) {
      for (const [key, object] of members) objects.push([resource, key, jsonOf(object)])
    }
    this.#journal?.compact(this.#version, objects)
  }

  #of(resource: string): Map<string, KubernetesObject> {
    let objects = this.#resources.get(resource)
    if (objects === undefined) {
      objects = new Map()
      this.#resources.set(resource, objects)
    }
    return objects
  }
}

const texts = new WeakMap<KubernetesObject, string>()

/** The object's JSON, made once: journal, lists and watches all send the same text. */
export function jsonOf(object: KubernetesObject): string {
  let text = texts.get(object)
  if (text === undefined) {
    text = JSON.stringify(object)
    texts.set(object, text)
  }
  return text
}

function withVersion(object: KubernetesObject, version: number): KubernetesObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
}
