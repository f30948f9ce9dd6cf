import type { JsonObject } from '../json.ts'
import { isTerminating, ownersOf, uidOf, type KubernetesObject } from '../kubernetes-object.ts'
import { resourceId, type ResourceKind } from '../resource-kind.ts'
import type { ControllerContext } from './controller.ts'

/** Objects of a kind that the owner controls. */
export function ownedBy(owner: KubernetesObject, kind: ResourceKind, context: ControllerContext): KubernetesObject[] {
  const uid = uidOf(owner)
  const found: KubernetesObject[] = []
  for (const object of context.store.objects(resourceId(kind)).values()) {
    if (ownersOf(object).some((reference) => reference.uid === uid)) found.push(object)
  }
  return found
}

/** The reference that makes the owner the controller of an object. */
export function controlledBy(owner: KubernetesObject): JsonObject {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: uidOf(owner),
    controller: true,
    blockOwnerDeletion: true,
  }
}

/** Keys of the owners of one kind: whom a change of the object concerns. */
export function ownerKeys(kindName: string): (object: KubernetesObject) => readonly string[] {
  return (object) => {
    const namespace = object.metadata['namespace']
    const prefix = typeof namespace === 'string' ? `${namespace}/` : ''
    return ownersOf(object)
      .filter((reference) => reference.kind === kindName)
      .map((reference) => `${prefix}${reference.name}`)
  }
}

export function isAlive(object: KubernetesObject): boolean {
  return !isTerminating(object)
}
