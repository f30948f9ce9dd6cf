import { namespaceKind } from '../kinds/core.ts'
import { isTerminating, namespaceOf } from '../kubernetes-object.ts'
import { resourceId } from '../resource-kind.ts'
import { nameOf, type Controller } from './controller.ts'

/** Empties a namespace that is being deleted, then lets it go. */
export const namespaceController: Controller = {
  name: 'namespace',
  group: '',
  plural: 'namespaces',
  reconcile(namespace, context) {
    if (!isTerminating(namespace)) return undefined
    let left = 0
    for (const kind of context.kinds.resources()) {
      if (!kind.namespaced) continue
      for (const object of context.store.objects(resourceId(kind)).values()) {
        if (namespaceOf(object) !== namespace.metadata.name) continue
        if (!isTerminating(object)) context.remover.remove(kind, nameOf(object), { propagation: 'Background' })
        if (context.store.get(resourceId(kind), `${namespaceOf(object)}/${object.metadata.name}`) !== undefined)
          left += 1
      }
    }
    if (left > 0) return 100
    const empty = (draft: typeof namespace): void => {
      draft['spec'] = {}
    }
    context.writer.edit(namespaceKind, nameOf(namespace), empty, { manager: 'namespace-controller' })
    return undefined
  },
}
