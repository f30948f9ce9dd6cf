import { isRecord, type KubernetesObject } from './kubernetes-object.ts'

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
  readonly observedGeneration: number | undefined
}

/** A sign of failure. It counts once it has lasted `graceMs`. */
export interface Failure {
  readonly reason: string
  readonly message: string
  readonly graceMs: number
}

/** What is still missing, or `undefined` when nothing is. */
export type Missing = { readonly reason: string; readonly message: string } | undefined

export interface PresetFinding {
  readonly missing: Missing
  readonly failures: readonly Failure[]
}

type Fields = Readonly<Record<string, unknown>>

/** What the built-in kinds need besides conditions. `object` has a status. */
export const readinessPresets = {
  Deployment: findDeployment,
  Job: findJob,
  Pod: findPod,
  VirtualMachine: findVirtualMachine,
} as const satisfies Record<string, (object: KubernetesObject) => PresetFinding>

export function conditionsOf(object: KubernetesObject): Condition[] {
  const conditions = fieldsOf(object['status'])['conditions']
  if (!Array.isArray(conditions)) return []
  return conditions.filter(isRecord).map((condition) => ({
    type: textOf(condition, 'type'),
    status: textOf(condition, 'status'),
    reason: textOf(condition, 'reason'),
    message: textOf(condition, 'message'),
    observedGeneration: numberOf(condition, 'observedGeneration'),
  }))
}

function conditionOf(object: KubernetesObject, type: string): Condition | undefined {
  return conditionsOf(object).find((condition) => condition.type === type)
}

// Numbers as in `kubectl rollout status`; failures are those that the controller itself declares.
function findDeployment(object: KubernetesObject): PresetFinding {
  const status = fieldsOf(object['status'])
  const wanted = numberOf(fieldsOf(object['spec']), 'replicas') ?? 1
  const updated = numberOf(status, 'updatedReplicas') ?? 0
  const total = numberOf(status, 'replicas') ?? 0
  const available = numberOf(status, 'availableReplicas') ?? 0
  const missing =
    updated < wanted
      ? pending('RollingOut', `${updated} of ${wanted} replicas are updated`)
      : total > updated
        ? pending('RollingOut', `${total - updated} old replicas are still there`)
        : available < updated
          ? pending('Unavailable', `${available} of ${updated} replicas are available`)
          : undefined
  const failures: Failure[] = []
  const progressing = conditionOf(object, 'Progressing')
  if (progressing?.status === 'False') failures.push(failure(progressing, 5_000))
  const replicaFailure = conditionOf(object, 'ReplicaFailure')
  if (replicaFailure?.status === 'True') failures.push(failure(replicaFailure, 15_000))
  return { missing, failures }
}

function findJob(object: KubernetesObject): PresetFinding {
  const complete = conditionOf(object, 'Complete')
  const failed = conditionOf(object, 'Failed')
  const suspended = conditionOf(object, 'Suspended')
  // Final by definition: a Job that failed never runs again.
  if (failed?.status === 'True') return { missing: pending('Failed', failed.message), failures: [failure(failed, 0)] }
  if (complete?.status === 'True') return { missing: undefined, failures: [] }
  if (suspended?.status === 'True') return { missing: pending('Suspended', suspended.message), failures: [] }
  const active = numberOf(fieldsOf(object['status']), 'active') ?? 0
  return { missing: pending('Running', `${active} pods are active`), failures: [] }
}

/** Reasons for which a container waits that do not go away by waiting. */
const containerFailures = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'CrashLoopBackOff',
])
const containerGraceMs = 30_000
// An autoscaler needs a minute or two to bring a node.
const schedulingGraceMs = 120_000

function findPod(object: KubernetesObject): PresetFinding {
  const status = fieldsOf(object['status'])
  const phase = textOf(status, 'phase')
  if (phase === 'Succeeded') return { missing: undefined, failures: [] }
  if (phase === 'Failed') {
    const reason = textOf(status, 'reason') || 'Failed'
    const message = textOf(status, 'message') || 'The pod failed.'
    return { missing: pending(reason, message), failures: [{ reason, message, graceMs: 0 }] }
  }
  const ready = conditionOf(object, 'Ready')
  const missing =
    ready?.status === 'True'
      ? undefined
      : pending(ready?.reason || phase || 'NotReady', ready?.message ?? 'The pod is not Ready.')
  return { missing, failures: podFailures(object) }
}

/** Why a pod does not come up, as far as its status says. */
export function podFailures(object: KubernetesObject): Failure[] {
  const status = fieldsOf(object['status'])
  const containers = ['initContainerStatuses', 'containerStatuses'].flatMap((field) => {
    const list = status[field]
    return Array.isArray(list) ? list.filter(isRecord) : []
  })
  const failures = containers.flatMap((container) => {
    const waiting = fieldsOf(fieldsOf(container['state'])['waiting'])
    const reason = textOf(waiting, 'reason')
    if (!containerFailures.has(reason)) return []
    const message = textOf(waiting, 'message') || `container ${textOf(container, 'name')} waits`
    return [{ reason, message, graceMs: containerGraceMs }]
  })
  const scheduled = conditionOf(object, 'PodScheduled')
  if (scheduled?.status === 'False' && scheduled.reason === 'Unschedulable')
    failures.push(failure(scheduled, schedulingGraceMs))
  return failures
}

const machineFailures: Readonly<Record<string, number>> = {
  ErrorUnschedulable: schedulingGraceMs,
  ErrImagePull: containerGraceMs,
  ImagePullBackOff: containerGraceMs,
  ErrorPvcNotFound: containerGraceMs,
  ErrorDataVolumeNotFound: containerGraceMs,
  DataVolumeError: containerGraceMs,
  CrashLoopBackOff: containerGraceMs,
}

function findVirtualMachine(object: KubernetesObject): PresetFinding {
  const status = fieldsOf(object['status'])
  const printable = textOf(status, 'printableStatus')
  const failures: Failure[] = []
  const graceMs = machineFailures[printable]
  const ready = conditionOf(object, 'Ready')
  if (graceMs !== undefined) {
    failures.push({ reason: printable, message: ready?.message || `The machine is in ${printable}.`, graceMs })
  }
  const failed = conditionOf(object, 'Failure')
  if (failed?.status === 'True') failures.push(failure(failed, 15_000))
  return { missing: missingOfMachine(object, printable, ready), failures }
}

function missingOfMachine(object: KubernetesObject, printable: string, ready: Condition | undefined): Missing {
  const spec = fieldsOf(object['spec'])
  const halted = spec['runStrategy'] === 'Halted' || spec['running'] === false
  const created = fieldsOf(object['status'])['created'] === true
  if (halted) {
    // `Stopped` is also the default before the controller looked: its Ready condition proves that it has.
    return ready && ready.status !== 'True' && printable === 'Stopped' && !created
      ? undefined
      : pending(printable || 'Stopping', 'The machine is not stopped yet.')
  }
  // With Manual the machine is whatever it was told last: both ends are results.
  if (spec['runStrategy'] === 'Manual' && ready && printable === 'Stopped' && !created) return undefined
  return ready?.status === 'True'
    ? undefined
    : pending(ready?.reason || printable || 'NotReady', ready?.message || `The machine is ${printable || 'not Ready'}.`)
}

function pending(reason: string, message: string): Missing {
  return { reason, message }
}

function failure({ type, reason, message }: Condition, graceMs: number): Failure {
  return { reason: reason || type, message, graceMs }
}

export function fieldsOf(value: unknown): Fields {
  return isRecord(value) ? value : {}
}

function textOf(fields: Fields, key: string): string {
  const value = fields[key]
  return typeof value === 'string' ? value : ''
}

export function numberOf(fields: Fields, key: string): number | undefined {
  const value = fields[key]
  return typeof value === 'number' ? value : undefined
}
