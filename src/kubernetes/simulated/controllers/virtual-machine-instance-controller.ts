import { equalJson, isObject, listAt, stringAt, type JsonObject } from '../json.ts'
import { virtualMachineInstanceKind, virtualMachineKind } from '../kinds/virtual-machine.ts'
import { podKind } from '../kinds/workloads.ts'
import { isTerminating, namespaceOf, type KubernetesObject, type StatusCondition } from '../kubernetes-object.ts'
import {
  behaviourOf,
  faultOf,
  launcherPrefix,
  nameOf,
  withConditions,
  type Controller,
  type ControllerContext,
} from './controller.ts'
import { controlledBy, ownedBy } from './owned-objects.ts'
import { isReady } from './replica-set-controller.ts'

const manager = 'virt-handler'

/** Boots an instance: Scheduling, Scheduled, Running. */
export const virtualMachineInstanceController: Controller = {
  name: 'virtual-machine-instance',
  group: virtualMachineInstanceKind.group,
  plural: virtualMachineInstanceKind.plural,
  reconcile(instance, context) {
    if (isTerminating(instance)) return undefined
    if (ownedBy(instance, podKind, context).length === 0) createLauncher(instance, context)
    const fault = faultOf(instance, virtualMachineKind.plural, context) ?? machineFault(instance, context)
    const behaviour = behaviourOf(instance)
    const delay = behaviour === 'slow' ? context.options.slowMs : context.options.virtualMachineStartAfterMs
    const elapsed = context.elapsed(instance, 'creation')
    const stuck = behaviour === 'stalls' || fault?.mode === 'stall' || isBroken(instance, fault?.mode)
    if (elapsed < delay / 2 || stuck) {
      write(instance, { phase: 'Scheduling', ready: false }, context)
      return stuck ? undefined : delay / 2 - elapsed
    }
    if (elapsed < delay) {
      write(instance, { phase: 'Scheduled', ready: false }, context)
      return delay - elapsed
    }
    if (fault?.mode === 'flap') {
      write(instance, { phase: 'Running', ready: !isReady(instance) }, context)
      return fault.everyMs ?? 200
    }
    write(instance, { phase: 'Running', ready: true }, context)
    return undefined
  },
}

/** The Pod that the instance runs in; its name decides what becomes of it, as the machine's does. */
function createLauncher(instance: KubernetesObject, context: ControllerContext): void {
  const disks = listAt(instance, 'spec', 'volumes').flatMap((volume) => {
    const image = stringAt(volume, 'containerDisk', 'image')
    return image === undefined ? [] : [{ name: `volume${stringAt(volume, 'name') ?? ''}`, image }]
  })
  const { name } = instance.metadata
  const pod: KubernetesObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: '',
      generateName: `${launcherPrefix}${name}-`,
      labels: { 'kubevirt.io': 'virt-launcher', 'vm.kubevirt.io/name': name },
      ownerReferences: [controlledBy(instance)],
    },
    spec: { containers: [...disks, { name: 'compute', image: 'simulated/virt-launcher' }] },
  }
  const created = context.writer.create(podKind, namespaceOf(instance), pod, { manager: 'virt-controller' })
  const message = `Created virtual machine pod ${created.metadata.name}`
  context.recordEvent(instance, { type: 'Normal', reason: 'SuccessfulCreate', message, component: 'virt-controller' })
}

/** A fault that names the machine by its kind concerns its instance. */
function machineFault(instance: KubernetesObject, context: ControllerContext) {
  const machine = context.store.get('kubevirt.io/virtualmachines', `${namespaceOf(instance)}/${instance.metadata.name}`)
  return machine === undefined ? undefined : faultOf(machine, virtualMachineKind.plural, context)
}

/** Instances of broken machines never leave Scheduling; the machine's status says why. */
function isBroken(instance: KubernetesObject, mode: string | undefined): boolean {
  return behaviourOf(instance) === 'fails' || mode === 'fail'
}

function write(
  instance: KubernetesObject,
  { phase, ready }: { readonly phase: string; readonly ready: boolean },
  context: ControllerContext,
): void {
  const now = context.clock.now()
  const condition: StatusCondition = ready
    ? { type: 'Ready', status: 'True', reason: '', message: '' }
    : { type: 'Ready', status: 'False', reason: 'GuestNotRunning', message: 'Guest VM is not reported as running' }
  const before = isObject(instance['status']) ? instance['status'] : {}
  const status: JsonObject = {
    ...before,
    phase,
    conditions: withConditions(instance, [condition], { now, observedGeneration: false }),
    ...(phase === 'Scheduling' ? {} : { nodeName: 'simulated-node' }),
    ...(phase === 'Running' ? { interfaces: [{ name: 'default', ipAddress: '10.0.0.3' }] } : {}),
  }
  if (equalJson(before, status)) return
  const change = (draft: KubernetesObject): void => {
    draft['status'] = status
  }
  context.writer.edit(virtualMachineInstanceKind, nameOf(instance), change, { manager })
}
