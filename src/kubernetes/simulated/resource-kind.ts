import type { FieldError } from './field-error.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import type { Schema } from './schema.ts'

/** Column of a table, as `kubectl get` prints it. */
export interface PrinterColumn {
  readonly name: string
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date'
  readonly description?: string
  readonly format?: string
  /** 0 is always shown, more only with `-o wide`. @default 0 */
  readonly priority?: number
  /** A JSON path such as `.spec.replicas`, or a function for what no path can say. */
  readonly value: string | ((object: KubernetesObject, now: number) => string | number | boolean | undefined)
}

export interface ScalePaths {
  readonly specReplicas: string
  readonly statusReplicas: string
  readonly labelSelector?: string
}

/** One resource in one version: all that is special about it. The rest is the same for every kind. */
export interface ResourceKind {
  readonly group: string
  readonly version: string
  /** The version objects are kept in. */
  readonly storageVersion: string
  readonly kind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  /** The whole object's schema, with type and metadata. */
  readonly schema: Schema
  readonly statusSubresource: boolean
  readonly scale?: ScalePaths
  /** Whether the server counts changes of the specification in `metadata.generation`. */
  readonly hasGeneration: boolean
  /** Custom resources know no strategic merge patch, and are replaced only with a resourceVersion. */
  readonly custom: boolean
  readonly columns: readonly PrinterColumn[]
  /** Paths that field selectors may name besides `metadata.name` and `metadata.namespace`. */
  readonly selectableFields: readonly string[]
  /** Kept, but not offered under this version. @default true */
  readonly served?: boolean
  /** Told with every answer of this version. */
  readonly deprecation?: string
  readonly hooks: KindHooks
}

export interface KindHooks {
  /** Fills in what the server decides: default status, derived fields. May change the object. */
  readonly prepare?: (object: KubernetesObject, live: KubernetesObject | undefined) => void
  /** Rules that a schema cannot say. */
  readonly validate?: (object: KubernetesObject, live: KubernetesObject | undefined) => readonly FieldError[]
  /** Seconds that an object stays after DELETE before it is gone; 0 or absent: at once. */
  readonly graceSeconds?: (object: KubernetesObject) => number
}

export function apiVersionOf(kind: { readonly group: string; readonly version: string }): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`
}

/** The same for all versions of a resource: what the store and the watch history go by. */
export function resourceId(kind: { readonly group: string; readonly plural: string }): string {
  return `${kind.group}/${kind.plural}`
}

/** What is served. Kinds come and go with their CustomResourceDefinitions. */
export class KindRegistry {
  readonly #kinds = new Map<string, ResourceKind>()
  #revision = 0

  /** Grows with every change: for what is made from all kinds and kept. */
  get revision(): number {
    return this.#revision
  }

  serve(kind: ResourceKind): void {
    this.#revision += 1
    this.#kinds.set(`${resourceId(kind)}/${kind.version}`, kind)
  }

  withdraw(group: string, plural: string): void {
    this.#revision += 1
    for (const [id, kind] of this.#kinds) {
      if (kind.group === group && kind.plural === plural) this.#kinds.delete(id)
    }
  }

  find(group: string, version: string, plural: string): ResourceKind | undefined {
    const kind = this.#kinds.get(`${group}/${plural}/${version}`)
    return kind?.served === false ? undefined : kind
  }

  /** The kind in the version it is kept in. */
  stored(group: string, plural: string): ResourceKind | undefined {
    for (const kind of this.#kinds.values()) {
      if (kind.group === group && kind.plural === plural && kind.version === kind.storageVersion) return kind
    }
    return undefined
  }

  forKind(group: string, kind: string): ResourceKind | undefined {
    for (const served of this.#kinds.values()) {
      if (served.group === group && served.kind === kind && served.version === served.storageVersion) return served
    }
    return undefined
  }

  /** Everything that is offered. */
  all(): readonly ResourceKind[] {
    return [...this.#kinds.values()].filter((kind) => kind.served !== false)
  }

  /** Each resource once, in the version that it is kept in. */
  resources(): readonly ResourceKind[] {
    return [...this.#kinds.values()].filter((kind) => kind.version === kind.storageVersion)
  }

  /** Versions of each group, in the order in which they are preferred. */
  groups(): ReadonlyMap<string, readonly string[]> {
    const groups = new Map<string, string[]>()
    for (const { group, version } of this.all()) {
      const versions = groups.get(group) ?? []
      if (!versions.includes(version)) versions.push(version)
      groups.set(group, versions)
    }
    for (const versions of groups.values()) versions.sort(byPriority)
    return groups
  }
}

/** v2 before v1 before v1beta2 before v1alpha1, as the API orders versions. */
function byPriority(left: string, right: string): number {
  const [a, b] = [rank(left), rank(right)]
  return b[0] - a[0] || b[1] - a[1] || b[2] - a[2] || (left < right ? -1 : 1)
}

function rank(version: string): readonly [number, number, number] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version)
  if (match === null) return [-1, 0, 0]
  const stability = match[2] === undefined ? 2 : match[2] === 'beta' ? 1 : 0
  return [stability, Number(match[1]), Number(match[3] ?? 0)]
}
