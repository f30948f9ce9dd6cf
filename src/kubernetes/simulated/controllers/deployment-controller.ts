import { createHash } from 'node:crypto'
import {
  canonicalText,
  cloneJson,
  equalJson,
  listAt,
  numberAt,
  objectAt,
  stringAt,
  valueAt,
  type Json,
  type JsonObject,
} from '../json.ts'
import { deploymentKind, replicaSetKind } from '../kinds/workloads.ts'
import {
  annotationsOf,
  generationOf,
  isTerminating,
  labelsOf,
  namespaceOf,
  type KubernetesObject,
  type StatusCondition,
} from '../kubernetes-object.ts'
import { nameOf, withConditions, writeStatus, type Controller, type ControllerContext } from './controller.ts'
import { controlledBy, isAlive, ownedBy, ownerKeys } from './owned-objects.ts'

const manager = 'deployment-controller'
const hashLabel = 'pod-template-hash'
const revisionAnnotation = 'deployment.kubernetes.io/revision'

/** Rolls out: the new ReplicaSet comes up whole, then the old ones go down. */
export const deploymentController: Controller = {
  name: 'deployment',
  group: deploymentKind.group,
  plural: deploymentKind.plural,
  watches: [{ resource: 'apps/replicasets', concerns: ownerKeys('Deployment') }],
  reconcile(deployment, context) {
    if (isTerminating(deployment)) return undefined
    const sets = ownedBy(deployment, replicaSetKind, context).filter(isAlive)
    const hash = templateHash(deployment)
    const current = sets.find((set) => labelsOf(set)[hashLabel] === hash)
    const wanted = numberAt(deployment, 'spec', 'replicas') ?? 1
    const paused = valueAt(deployment, 'spec', 'paused') === true
    if (current === undefined && !paused) {
      createReplicaSet(deployment, sets, { hash, context })
      return undefined
    }
    const old = sets.filter((set) => set !== current)
    if (current !== undefined) {
      raiseRevision(deployment, current, { sets, context })
      scale(current, wanted, context)
    }
    const ready = numberAt(current, 'status', 'readyReplicas') ?? 0
    if (ready >= wanted && !paused) for (const set of old) scale(set, 0, context)
    return writeDeploymentStatus(deployment, { current, old, wanted, context })
  },
}

function templateHash(deployment: KubernetesObject): string {
  const text = canonicalText(valueAt(deployment, 'spec', 'template') ?? {})
  // The API's names use letters that never make a word.
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789'
  const digest = createHash('sha256').update(text).digest()
  return [...digest.subarray(0, 10)].map((byte) => alphabet[byte % alphabet.length]).join('')
}

function createReplicaSet(
  deployment: KubernetesObject,
  sets: readonly KubernetesObject[],
  { hash, context }: { readonly hash: string; readonly context: ControllerContext },
): void {
  const revision = 1 + Math.max(0, ...sets.map(revisionOf))
  const template = cloneJson(objectAt(deployment, 'spec', 'template') ?? {})
  const labels: JsonObject = { ...objectAt(template, 'metadata', 'labels'), [hashLabel]: hash }
  template['metadata'] = { ...objectAt(template, 'metadata'), labels }
  const selector = cloneJson(objectAt(deployment, 'spec', 'selector') ?? {})
  selector['matchLabels'] = { ...objectAt(selector, 'matchLabels'), [hashLabel]: hash }
  const name = `${deployment.metadata.name}-${hash}`
  const draft: KubernetesObject = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name,
      labels,
      annotations: { [revisionAnnotation]: String(revision) },
      ownerReferences: [controlledBy(deployment)],
    },
    spec: { replicas: numberAt(deployment, 'spec', 'replicas') ?? 1, selector, template },
  }
  const { writer, store } = context
  // An earlier one of this name that nobody owns any more: the next look finds it gone or ours.
  if (store.get('apps/replicasets', `${namespaceOf(deployment)}/${name}`) !== undefined) return
  writer.create(replicaSetKind, namespaceOf(deployment), draft, { manager })
  const message = `Scaled up replica set ${name} to ${numberAt(draft, 'spec', 'replicas') ?? 1}`
  context.recordEvent(deployment, { type: 'Normal', reason: 'ScalingReplicaSet', message, component: manager })
}

/** A template that comes back is the newest revision again, under the ReplicaSet that it had. */
function raiseRevision(
  deployment: KubernetesObject,
  current: KubernetesObject,
  { sets, context }: { readonly sets: readonly KubernetesObject[]; readonly context: ControllerContext },
): void {
  const newest = Math.max(...sets.map(revisionOf))
  if (revisionOf(current) === newest && annotationsOf(deployment)[revisionAnnotation] === String(newest)) return
  const revision = String(revisionOf(current) === newest ? newest : newest + 1)
  const mark = (draft: KubernetesObject): void => {
    const annotations = objectAt(draft.metadata, 'annotations') ?? {}
    draft.metadata['annotations'] = { ...annotations, [revisionAnnotation]: revision }
  }
  context.writer.edit(replicaSetKind, nameOf(current), mark, { manager })
  context.writer.edit(deploymentKind, nameOf(deployment), mark, { manager })
}

function revisionOf(set: KubernetesObject): number {
  return Number(annotationsOf(set)[revisionAnnotation] ?? 0)
}

function scale(set: KubernetesObject, replicas: number, context: ControllerContext): void {
  if (numberAt(set, 'spec', 'replicas') === replicas) return
  const change = (draft: KubernetesObject): void => {
    draft['spec'] = { ...objectAt(draft, 'spec'), replicas }
  }
  context.writer.edit(replicaSetKind, nameOf(set), change, { manager })
}

interface Rollout {
  readonly current: KubernetesObject | undefined
  readonly old: readonly KubernetesObject[]
  readonly wanted: number
  readonly context: ControllerContext
}

function writeDeploymentStatus(deployment: KubernetesObject, rollout: Rollout): number | undefined {
  const { current, old, wanted, context } = rollout
  const sets = current === undefined ? old : [current, ...old]
  const total = (field: string): number => sets.reduce((sum, set) => sum + (numberAt(set, 'status', field) ?? 0), 0)
  const available = total('availableReplicas')
  const updated = numberAt(current, 'status', 'replicas') ?? 0
  const complete = updated === wanted && available === wanted && total('replicas') === wanted
  const { condition, wait } = progress(deployment, { complete, available, updated, context })
  const conditions: StatusCondition[] = [availability(available, wanted), condition]
  const failure = listAt(current, 'status', 'conditions').find((known) => stringAt(known, 'type') === 'ReplicaFailure')
  if (failure !== undefined) {
    const [reason = '', message = ''] = [stringAt(failure, 'reason'), stringAt(failure, 'message')]
    conditions.push({ type: 'ReplicaFailure', status: 'True', reason, message })
  }
  const status: JsonObject = {
    observedGeneration: generationOf(deployment),
    replicas: total('replicas'),
    updatedReplicas: updated,
    readyReplicas: total('readyReplicas'),
    availableReplicas: available,
    ...(wanted > available ? { unavailableReplicas: wanted - available } : {}),
    conditions: withUpdateTimes(deployment, conditions, context),
  }
  if (!equalJson(status, deployment['status'])) {
    writeStatus(deployment, deploymentKind, status, { writer: context.writer, manager })
  }
  return wait
}

function withUpdateTimes(
  deployment: KubernetesObject,
  conditions: readonly StatusCondition[],
  context: ControllerContext,
): Json[] {
  const now = context.clock.now()
  return withConditions(deployment, conditions, { now, observedGeneration: false }).map((condition) => ({
    ...objectAt(condition),
    lastUpdateTime: valueAt(condition, 'lastTransitionTime') ?? null,
  }))
}

function availability(available: number, wanted: number): StatusCondition {
  // A quarter may be missing, as the default strategy allows.
  return available >= wanted - Math.floor(wanted / 4)
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      }
}

function progress(
  deployment: KubernetesObject,
  seen: {
    readonly complete: boolean
    readonly available: number
    readonly updated: number
    readonly context: ControllerContext
  },
): { readonly condition: StatusCondition; readonly wait: number | undefined } {
  const name = `ReplicaSet "${deployment.metadata.name}-${templateHash(deployment)}"`
  const type = 'Progressing'
  if (seen.complete) {
    const message = `${name} has successfully progressed.`
    return { condition: { type, status: 'True', reason: 'NewReplicaSetAvailable', message }, wait: undefined }
  }
  const deadline = (numberAt(deployment, 'spec', 'progressDeadlineSeconds') ?? 600) * 1000
  // Every change of the counts is progress, and starts the time anew.
  const phase = `progress ${generationOf(deployment)} ${seen.updated} ${seen.available}`
  const left = deadline - seen.context.elapsed(deployment, phase)
  if (left <= 0) {
    const message = `${name} has timed out progressing.`
    return { condition: { type, status: 'False', reason: 'ProgressDeadlineExceeded', message }, wait: undefined }
  }
  const message = `${name} is progressing.`
  return { condition: { type, status: 'True', reason: 'ReplicaSetUpdated', message }, wait: left }
}
