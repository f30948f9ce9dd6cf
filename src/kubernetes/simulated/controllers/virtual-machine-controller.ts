import { equalJson, isObject, listAt, objectAt, stringAt, valueAt, type Json, type JsonObject } from '../json.ts'
import { virtualMachineInstanceKind, virtualMachineKind } from '../kinds/virtual-machine.ts'
import {
  annotationsOf,
  generationOf,
  isTerminating,
  namespaceOf,
  uidOf,
  type KubernetesObject,
  type StatusCondition,
} from '../kubernetes-object.ts'
import { resourceId } from '../resource-kind.ts'
import { strategyOf } from '../virtual-resources.ts'
import {
  behaviourOf,
  faultOf,
  guardDeletion,
  nameOf,
  recreate,
  withConditions,
  writeStatus,
  type Controller,
  type ControllerContext,
} from './controller.ts'
import { controlledBy, ownerKeys } from './owned-objects.ts'
import { isReady } from './replica-set-controller.ts'

const manager = 'virt-controller'
const finalizer = 'kubevirt.io/virtualMachineControllerFinalize'
const generationAnnotation = 'kubevirt.io/vm-generation'

/** Keeps an instance where the run strategy wants one, and shows in the status what became of it. */
export const virtualMachineController: Controller = {
  name: 'virtual-machine',
  group: virtualMachineKind.group,
  plural: virtualMachineKind.plural,
  watches: [{ resource: resourceId(virtualMachineInstanceKind), concerns: ownerKeys('VirtualMachine') }],
  reconcile(machine, context) {
    const instance = instanceOf(machine, context)
    if (isTerminating(machine) && instance !== undefined) {
      showStatus(machine, { instance, printable: 'Terminating', context })
      context.remover.remove(virtualMachineInstanceKind, nameOf(instance), {})
    }
    const deletion = guardDeletion(machine, virtualMachineKind, finalizer, context)
    if (deletion !== undefined) return deletion.wait
    const current = context.store.get(resourceId(virtualMachineKind), keyOf(machine)) ?? machine
    if (faultOf(current, virtualMachineKind.plural, context)?.mode === 'deleteAndRecreate') {
      recreate(current, virtualMachineKind, context)
    }
    return follow(current, instance, context)
  },
}

function follow(
  machine: KubernetesObject,
  instance: KubernetesObject | undefined,
  context: ControllerContext,
): number | undefined {
  const [request] = listAt(machine, 'status', 'stateChangeRequests')
  const action = stringAt(request, 'action')
  const stopAsked = action === 'Stop' && instance !== undefined && stringAt(request, 'uid') === uidOf(instance)
  const wanted = wantsInstance(strategyOf(machine), { running: instance !== undefined, action })
  if (instance !== undefined && (stopAsked || !wanted)) return stop(machine, instance, context)
  if (instance === undefined && wanted && failureOf(machine, context)?.beforeCreation !== true) {
    createInstance(machine, context)
    dropRequests(machine, action === 'Start' ? 1 : 0, context)
    return undefined
  }
  // What is done, or cannot be done any more, is no longer asked for.
  if (action !== undefined && !stopAsked) dropRequests(machine, 1, context)
  showStatus(machine, { instance, printable: printableOf(machine, instance, { wanted, context }), context })
  return undefined
}

function wantsInstance(
  strategy: string,
  seen: { readonly running: boolean; readonly action: string | undefined },
): boolean {
  if (strategy === 'Halted') return false
  return strategy === 'Manual' ? seen.running || seen.action === 'Start' : true
}

function stop(machine: KubernetesObject, instance: KubernetesObject, context: ControllerContext): number | undefined {
  showStatus(machine, { instance, printable: 'Stopping', context })
  const left = context.options.virtualMachineStopAfterMs - context.elapsed(instance, 'stopping')
  if (left > 0) return left
  const [request] = listAt(machine, 'status', 'stateChangeRequests')
  if (stringAt(request, 'action') === 'Stop') dropRequests(machine, 1, context)
  context.remover.remove(virtualMachineInstanceKind, nameOf(instance), {})
  return undefined
}

function createInstance(machine: KubernetesObject, context: ControllerContext): void {
  const template = objectAt(machine, 'spec', 'template') ?? {}
  const labels = valueAt(template, 'metadata', 'labels')
  const draft: KubernetesObject = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: {
      name: machine.metadata.name,
      ...(isObject(labels) ? { labels } : {}),
      annotations: { [generationAnnotation]: String(generationOf(machine)) },
      ownerReferences: [controlledBy(machine)],
    },
    spec: objectAt(template, 'spec') ?? {},
  }
  context.writer.create(virtualMachineInstanceKind, namespaceOf(machine), draft, { manager })
  const message = `Started the virtual machine by creating the new virtual machine instance ${machine.metadata.name}`
  context.recordEvent(machine, { type: 'Normal', reason: 'SuccessfulCreate', message, component: manager })
}

function dropRequests(machine: KubernetesObject, count: number, context: ControllerContext): void {
  if (count === 0) return
  const change = (draft: KubernetesObject): void => {
    const { stateChangeRequests: _, ...status } = objectAt(draft, 'status') ?? {}
    const rest = listAt(draft, 'status', 'stateChangeRequests').slice(count)
    draft['status'] = rest.length === 0 ? status : { ...status, stateChangeRequests: rest }
  }
  context.writer.edit(virtualMachineKind, nameOf(machine), change, { manager, subresource: 'status' })
}

interface Failure {
  readonly printable: string
  readonly reason: string
  readonly message: string
  /** True: not even an instance can be made. */
  readonly beforeCreation: boolean
}

/** `fails-pvc-…`, `fails-image-…`, `fails-scheduling-…` and `fails-crash-…` fail in that way, other `fails-…` at creation. */
function failureOf(machine: KubernetesObject, context: ControllerContext): Failure | undefined {
  const { name } = machine.metadata
  const fault = faultOf(machine, virtualMachineKind.plural, context)
  if (behaviourOf(machine) !== 'fails' && fault?.mode !== 'fail') return undefined
  const late = { reason: '', message: '', beforeCreation: false }
  if (name.startsWith('fails-pvc-')) return { printable: 'ErrorPvcNotFound', ...late }
  if (name.startsWith('fails-image-')) return { printable: 'ImagePullBackOff', ...late }
  if (name.startsWith('fails-scheduling-')) return { printable: 'ErrorUnschedulable', ...late }
  if (name.startsWith('fails-crash-')) return { printable: 'CrashLoopBackOff', ...late }
  const reason = fault?.reason ?? 'FailedCreate'
  const message = `failed to create virtual machine instance ${JSON.stringify(name)}: exceeded quota: simulated`
  return { printable: 'Stopped', reason, message, beforeCreation: true }
}

function printableOf(
  machine: KubernetesObject,
  instance: KubernetesObject | undefined,
  { wanted, context }: { readonly wanted: boolean; readonly context: ControllerContext },
): string {
  if (!wanted) return 'Stopped'
  const failure = failureOf(machine, context)
  if (failure !== undefined) return failure.printable
  const phase = stringAt(instance, 'status', 'phase')
  if (phase === 'Running') return 'Running'
  const volumes = listAt(machine, 'spec', 'dataVolumeTemplates').length > 0
  return volumes && phase !== 'Scheduled' ? 'Provisioning' : 'Starting'
}

function showStatus(
  machine: KubernetesObject,
  seen: {
    readonly instance: KubernetesObject | undefined
    readonly printable: string
    readonly context: ControllerContext
  },
): void {
  const { instance, printable, context } = seen
  const live = context.store.get(resourceId(virtualMachineKind), keyOf(machine)) ?? machine
  const before = isObject(live['status']) ? live['status'] : {}
  const { created: _, ready: __, observedGeneration: ___, ...kept } = before
  const status: JsonObject = {
    ...kept,
    printableStatus: printable,
    runStrategy: strategyOf(live),
    desiredGeneration: generationOf(live),
    ...(instance === undefined ? {} : { created: true }),
    ...(instance !== undefined && isReady(instance) ? { ready: true } : {}),
    ...(instance === undefined
      ? {}
      : { observedGeneration: Number(annotationsOf(instance)[generationAnnotation] ?? 0) }),
    conditions: conditionsOf(live, instance, context),
  }
  if (!equalJson(before, status)) {
    writeStatus(live, virtualMachineKind, status, { writer: context.writer, manager })
  }
}

function conditionsOf(
  machine: KubernetesObject,
  instance: KubernetesObject | undefined,
  context: ControllerContext,
): Json[] {
  const wanted: StatusCondition[] = [readyCondition(instance)]
  const failure = failureOf(machine, context)
  if (failure?.beforeCreation === true && strategyOf(machine) !== 'Halted') {
    wanted.push({ type: 'Failure', status: 'True', reason: failure.reason, message: failure.message })
  }
  if (instance !== undefined && !equalJson(objectAt(machine, 'spec', 'template', 'spec'), objectAt(instance, 'spec'))) {
    const message = 'a non-live-updatable field was changed in the template spec'
    wanted.push({ type: 'RestartRequired', status: 'True', reason: 'RestartRequired', message })
  }
  const types = new Set(wanted.map(({ type }) => type))
  return withConditions(machine, wanted, { now: context.clock.now(), observedGeneration: false })
    .filter((condition) => types.has(stringAt(condition, 'type') ?? ''))
    .map((condition) => ({ ...objectAt(condition), lastProbeTime: null }))
}

function readyCondition(instance: KubernetesObject | undefined): StatusCondition {
  if (instance === undefined) {
    return { type: 'Ready', status: 'False', reason: 'VMINotExists', message: 'VMI does not exist' }
  }
  return isReady(instance)
    ? { type: 'Ready', status: 'True', reason: '', message: '' }
    : { type: 'Ready', status: 'False', reason: 'GuestNotRunning', message: 'Guest VM is not reported as running' }
}

function instanceOf(machine: KubernetesObject, context: ControllerContext): KubernetesObject | undefined {
  return context.store.get(resourceId(virtualMachineInstanceKind), keyOf(machine))
}

function keyOf(machine: KubernetesObject): string {
  return `${namespaceOf(machine)}/${machine.metadata.name}`
}
