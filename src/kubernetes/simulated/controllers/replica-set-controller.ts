import { equalJson, isObject, listAt, numberAt, objectAt, stringAt, type JsonObject } from '../json.ts'
import { podKind, replicaSetKind } from '../kinds/workloads.ts'
import { generationOf, isTerminating, namespaceOf, type KubernetesObject } from '../kubernetes-object.ts'
import { nameOf, withConditions, writeStatus, type Controller, type ControllerContext } from './controller.ts'
import { controlledBy, isAlive, ownedBy, ownerKeys } from './owned-objects.ts'

const manager = 'replicaset-controller'

/** Keeps as many Pods as wanted. Names `fails-quota-…` may not have any. */
export const replicaSetController: Controller = {
  name: 'replica-set',
  group: replicaSetKind.group,
  plural: replicaSetKind.plural,
  watches: [{ resource: '/pods', concerns: ownerKeys('ReplicaSet') }],
  reconcile(replicaSet, context) {
    if (isTerminating(replicaSet)) return undefined
    const pods = ownedBy(replicaSet, podKind, context).filter(isAlive)
    const wanted = numberAt(replicaSet, 'spec', 'replicas') ?? 1
    const refused = replicaSet.metadata.name.startsWith('fails-quota-')
    if (!refused) for (let missing = wanted - pods.length; missing > 0; missing -= 1) createPod(replicaSet, context)
    const surplus = pods.toSorted((left, right) => Number(isReady(left)) - Number(isReady(right)))
    for (const pod of surplus.slice(0, Math.max(0, pods.length - wanted))) {
      context.remover.remove(podKind, nameOf(pod), {})
    }
    const left = ownedBy(replicaSet, podKind, context).filter(isAlive)
    writeReplicaStatus(replicaSet, left, { context, refused: refused && wanted > left.length })
    return undefined
  },
}

/** A Pod from the template of its owner. */
export function podFromTemplate(owner: KubernetesObject): KubernetesObject {
  const template = objectAt(owner, 'spec', 'template') ?? {}
  const metadata = objectAt(template, 'metadata') ?? {}
  const { labels, annotations } = metadata
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: '',
      generateName: `${owner.metadata.name}-`,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ownerReferences: [controlledBy(owner)],
    },
    spec: objectAt(template, 'spec') ?? {},
  }
}

export function isReady(object: KubernetesObject): boolean {
  return listAt(object, 'status', 'conditions').some(
    (known) => stringAt(known, 'type') === 'Ready' && stringAt(known, 'status') === 'True',
  )
}

function createPod(replicaSet: KubernetesObject, context: ControllerContext): void {
  const namespace = namespaceOf(replicaSet)
  const pod = context.writer.create(podKind, namespace, podFromTemplate(replicaSet), { manager })
  context.recordEvent(replicaSet, {
    type: 'Normal',
    reason: 'SuccessfulCreate',
    message: `Created pod: ${pod.metadata.name}`,
    component: manager,
  })
}

function writeReplicaStatus(
  replicaSet: KubernetesObject,
  pods: readonly KubernetesObject[],
  { context, refused }: { readonly context: ControllerContext; readonly refused: boolean },
): void {
  const ready = pods.filter(isReady).length
  const before = isObject(replicaSet['status']) ? replicaSet['status'] : {}
  const status: JsonObject = {
    replicas: pods.length,
    fullyLabeledReplicas: pods.length,
    readyReplicas: ready,
    availableReplicas: ready,
    observedGeneration: generationOf(replicaSet),
  }
  if (refused) {
    const message = `pods "${replicaSet.metadata.name}-" is forbidden: exceeded quota: simulated, requested: pods=1, used: pods=0, limited: pods=0`
    const failure = { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message } as const
    const options = { now: context.clock.now(), observedGeneration: false }
    status['conditions'] = withConditions(replicaSet, [failure], options)
    if (!equalJson(before, status)) {
      context.recordEvent(replicaSet, {
        type: 'Warning',
        reason: 'FailedCreate',
        message: `Error creating: ${message}`,
        component: manager,
      })
    }
  }
  if (!equalJson(before, status)) {
    writeStatus(replicaSet, replicaSetKind, status, { writer: context.writer, manager })
  }
}
