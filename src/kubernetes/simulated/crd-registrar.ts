import { invalid, type FieldError } from './field-error.ts'
import { stringAt } from './json.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { customResourceDefinitionKind, kindsOf } from './kinds/custom-resource-definition.ts'
import type { ObjectStore } from './object-store.ts'
import { resourceId, type KindRegistry, type ResourceKind } from './resource-kind.ts'

/** Serves what definitions declare, from the write that brings them to the one that takes them away. */
export class CrdRegistrar {
  readonly #kinds: KindRegistry
  readonly #builtIn: ReadonlySet<string>
  readonly #withdrawn: (resource: { readonly group: string; readonly plural: string }) => void

  constructor(
    kinds: KindRegistry,
    store: ObjectStore,
    withdrawn: (resource: { readonly group: string; readonly plural: string }) => void,
  ) {
    this.#kinds = kinds
    this.#withdrawn = withdrawn
    this.#builtIn = new Set(kinds.all().map(resourceId))
    const resource = resourceId(customResourceDefinitionKind)
    for (const definition of store.objects(resource).values()) this.#serve(definition)
    store.subscribe((event) => {
      if (event.resource !== resource) return
      if (event.type === 'DELETED') this.#withdraw(event.object)
      else this.#serve(event.object)
    })
  }

  /** The definition's kind with the one rule more that only this cluster has. */
  kind(): ResourceKind {
    const { validate } = customResourceDefinitionKind.hooks
    return {
      ...customResourceDefinitionKind,
      hooks: {
        ...customResourceDefinitionKind.hooks,
        validate: (definition, live) => [...this.#refuseBuiltIn(definition), ...(validate?.(definition, live) ?? [])],
      },
    }
  }

  #refuseBuiltIn(definition: KubernetesObject): FieldError[] {
    const { group, plural } = nameOf(definition)
    if (!this.#builtIn.has(resourceId({ group, plural }))) return []
    const why = 'the simulated cluster serves this resource itself, and its definition cannot be replaced'
    return [invalid('metadata.name', definition.metadata.name, why)]
  }

  #serve(definition: KubernetesObject): void {
    const { group, plural } = nameOf(definition)
    this.#kinds.withdraw(group, plural)
    for (const kind of kindsOf(definition)) this.#kinds.serve(kind)
  }

  #withdraw(definition: KubernetesObject): void {
    const { group, plural } = nameOf(definition)
    this.#kinds.withdraw(group, plural)
    this.#withdrawn({ group, plural })
  }
}

function nameOf(definition: KubernetesObject): { readonly group: string; readonly plural: string } {
  return {
    group: stringAt(definition, 'spec', 'group') ?? '',
    plural: stringAt(definition, 'spec', 'names', 'plural') ?? '',
  }
}
