import { apiTime } from '../clock.ts'
import { equalJson, isObject, listAt, objectAt, stringAt, type Json, type JsonObject } from '../json.ts'
import { podKind } from '../kinds/workloads.ts'
import { isTerminating, ownersOf, type KubernetesObject, type StatusCondition } from '../kubernetes-object.ts'
import {
  behaviourOf,
  faultOf,
  launcherPrefix,
  nameOf,
  withConditions,
  writeStatus,
  type Controller,
  type ControllerContext,
} from './controller.ts'

const node = 'simulated-node'
const scheduler = 'default-scheduler'
const kubelet = 'kubelet'

/** Scheduler and kubelet in one: places the Pod, starts its containers, ends those of Jobs. */
export const podController: Controller = {
  name: 'pod',
  group: '',
  plural: 'pods',
  reconcile(pod, context) {
    if (isTerminating(pod)) return terminate(pod, context)
    if (['Succeeded', 'Failed'].includes(stringAt(pod, 'status', 'phase') ?? '')) return undefined
    const mode = faultOf(pod, 'pods', context)?.mode
    const behaviour = behaviourOf(pod)
    const obstacle = obstacleOf(pod)
    if (behaviour === 'stalls' || mode === 'stall' || obstacle !== undefined)
      return leaveUnscheduled(pod, obstacle ?? '1 Insufficient cpu', context)
    if (stringAt(pod, 'spec', 'nodeName') === undefined) return place(pod, context)
    const failing = behaviour === 'fails' || mode === 'fail'
    const delay = behaviour === 'slow' ? context.options.slowMs : context.options.podReadyAfterMs
    const elapsed = context.elapsed(pod, 'creation')
    if (elapsed < delay) {
      write(pod, { phase: 'Pending', state: 'creating' }, context)
      return delay - elapsed
    }
    const runsToEnd = ownersOf(pod).some((owner) => owner.kind === 'Job')
    if (failing && !runsToEnd) return refuseImage(pod, context)
    const left = delay + context.options.jobDurationMs - elapsed
    if (!runsToEnd || left > 0) {
      write(pod, { phase: 'Running', state: 'running' }, context)
      return runsToEnd ? left : undefined
    }
    write(pod, failing ? { phase: 'Failed', state: 'failed' } : { phase: 'Succeeded', state: 'succeeded' }, context)
    return undefined
  },
}

function terminate(pod: KubernetesObject, context: ControllerContext): number | undefined {
  const left = context.options.deletionAfterMs - context.elapsed(pod, 'deletion')
  if (left > 0) return left
  context.remover.remove(podKind, nameOf(pod), { graceSeconds: 0 })
  return undefined
}

function place(pod: KubernetesObject, context: ControllerContext): undefined {
  const bind = (draft: KubernetesObject): void => {
    draft['spec'] = { ...objectAt(draft, 'spec'), nodeName: node }
  }
  context.writer.edit(podKind, nameOf(pod), bind, { manager: scheduler })
  const message = `Successfully assigned ${stringAt(pod.metadata, 'namespace') ?? ''}/${pod.metadata.name} to ${node}`
  context.recordEvent(pod, { type: 'Normal', reason: 'Scheduled', message, component: scheduler })
  return undefined
}

/** Why no node takes the Pod of a machine, where the machine's name says so. */
function obstacleOf({ metadata: { name } }: KubernetesObject): string | undefined {
  if (name.startsWith(`${launcherPrefix}fails-scheduling-`)) return '1 Insufficient memory'
  return name.startsWith(`${launcherPrefix}fails-pvc-`) ? 'persistentvolumeclaim not found' : undefined
}

function leaveUnscheduled(pod: KubernetesObject, obstacle: string, context: ControllerContext): undefined {
  const message = `0/1 nodes are available: ${obstacle}.`
  const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message } as const
  const conditions = withConditions(pod, [condition], { now: context.clock.now(), observedGeneration: false })
  const status: JsonObject = { ...objectAt(pod, 'status'), phase: 'Pending', conditions }
  if (equalJson(status, pod['status'])) return undefined
  writeStatus(pod, podKind, status, { writer: context.writer, manager: scheduler })
  context.recordEvent(pod, { type: 'Warning', reason: 'FailedScheduling', message, component: scheduler })
  return undefined
}

function refuseImage(pod: KubernetesObject, context: ControllerContext): undefined {
  if (write(pod, { phase: 'Pending', state: 'backOff' }, context)) {
    const image = stringAt(listAt(pod, 'spec', 'containers')[0], 'image') ?? ''
    const message = `Failed to pull image ${JSON.stringify(image)}: not found`
    context.recordEvent(pod, { type: 'Warning', reason: 'Failed', message, component: kubelet })
  }
  return undefined
}

type ContainerState = 'creating' | 'running' | 'succeeded' | 'failed' | 'backOff'

function write(
  pod: KubernetesObject,
  wanted: { readonly phase: string; readonly state: ContainerState },
  context: ControllerContext,
): boolean {
  const now = context.clock.now()
  const { phase, state } = wanted
  const before = isObject(pod['status']) ? pod['status'] : {}
  const status: JsonObject = {
    ...before,
    phase,
    conditions: withConditions(pod, podConditions(state), { now, observedGeneration: false }),
    containerStatuses: listAt(pod, 'spec', 'containers').map((c) => containerStatus(c, state, before)),
    hostIP: '10.0.0.1',
    startTime: before['startTime'] ?? apiTime(now),
    ...(state === 'creating' || state === 'backOff' ? {} : { podIP: '10.0.0.2', podIPs: [{ ip: '10.0.0.2' }] }),
  }
  if (equalJson(before, status)) return false
  writeStatus(pod, podKind, status, { writer: context.writer, manager: kubelet })
  return true
}

function podConditions(state: ContainerState): StatusCondition[] {
  const done = { reason: '', message: '' }
  const waiting =
    state === 'succeeded' || state === 'failed'
      ? { status: 'False', reason: state === 'failed' ? 'PodFailed' : 'PodCompleted', message: '' }
      : { status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status' }
  const ready = (state === 'running' ? { status: 'True', ...done } : waiting) as Omit<StatusCondition, 'type'>
  return [
    { type: 'PodScheduled', status: 'True', ...done },
    { type: 'Initialized', status: 'True', ...done },
    { type: 'ContainersReady', ...ready },
    { type: 'Ready', ...ready },
  ]
}

function containerStatus(container: Json, state: ContainerState, before: JsonObject): JsonObject {
  const name = stringAt(container, 'name') ?? ''
  const image = stringAt(container, 'image') ?? ''
  const known = listAt(before, 'containerStatuses').find((status) => stringAt(status, 'name') === name)
  const startedAt = stringAt(known, 'state', 'running', 'startedAt') ?? stringAt(before, 'startTime') ?? null
  const finished = { startedAt, finishedAt: startedAt }
  const states: Readonly<Record<ContainerState, JsonObject>> = {
    creating: { waiting: { reason: 'ContainerCreating' } },
    running: { running: { startedAt } },
    succeeded: { terminated: { exitCode: 0, reason: 'Completed', ...finished } },
    failed: { terminated: { exitCode: 1, reason: 'Error', ...finished } },
    backOff: { waiting: { reason: 'ImagePullBackOff', message: `Back-off pulling image ${JSON.stringify(image)}` } },
  }
  const ready = state === 'running'
  return { name, image, imageID: '', ready, started: ready, restartCount: 0, lastState: {}, state: states[state] }
}
