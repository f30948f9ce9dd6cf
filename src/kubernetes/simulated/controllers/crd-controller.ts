import { equalJson, listAt, objectAt, stringAt, type JsonObject } from '../json.ts'
import { finalizersOf, isTerminating, type KubernetesObject } from '../kubernetes-object.ts'
import { cleanupFinalizer, customResourceDefinitionKind } from '../kinds/custom-resource-definition.ts'
import { resourceId } from '../resource-kind.ts'
import { nameOf, withConditions, writeStatus, type Controller, type ControllerContext } from './controller.ts'

const manager = 'apiextensions'

/** Says that a definition is served, and empties its resource when it goes. */
export const crdController: Controller = {
  name: 'crd',
  group: customResourceDefinitionKind.group,
  plural: customResourceDefinitionKind.plural,
  reconcile(definition, context) {
    return isTerminating(definition) ? empty(definition, context) : establish(definition, context)
  },
}

function establish(definition: KubernetesObject, context: ControllerContext): undefined {
  const conditions = withConditions(
    definition,
    [
      { type: 'NamesAccepted', status: 'True', reason: 'NoConflicts', message: 'no conflicts found' },
      {
        type: 'Established',
        status: 'True',
        reason: 'InitialNamesAccepted',
        message: 'the initial names have been accepted',
      },
    ],
    { now: context.clock.now(), observedGeneration: false },
  )
  const storage = listAt(definition, 'spec', 'versions').find((v) => objectAt(v)?.['storage'] === true)
  const before = listAt(definition, 'status', 'storedVersions').map(String)
  const status: JsonObject = {
    ...objectAt(definition, 'status'),
    conditions,
    acceptedNames: objectAt(definition, 'spec', 'names') ?? {},
    storedVersions: [...new Set([...before, stringAt(storage, 'name') ?? ''])],
  }
  if (!equalJson(status, definition['status'])) {
    writeStatus(definition, customResourceDefinitionKind, status, { writer: context.writer, manager })
  }
  return undefined
}

function empty(definition: KubernetesObject, context: ControllerContext): number | undefined {
  const group = stringAt(definition, 'spec', 'group') ?? ''
  const plural = stringAt(definition, 'spec', 'names', 'plural') ?? ''
  const kind = context.kinds.stored(group, plural)
  if (kind !== undefined) {
    for (const object of context.store.objects(resourceId(kind)).values()) {
      if (!isTerminating(object)) context.remover.remove(kind, nameOf(object), {})
    }
    if (context.store.count(resourceId(kind)) > 0) return 100
  }
  const drop = (draft: KubernetesObject): void => {
    draft.metadata['finalizers'] = finalizersOf(draft).filter((finalizer) => finalizer !== cleanupFinalizer)
  }
  context.writer.edit(customResourceDefinitionKind, nameOf(definition), drop, { manager })
  return undefined
}
