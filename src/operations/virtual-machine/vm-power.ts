import { z } from 'zod'
import type { KubernetesObject } from '../../kubernetes/cluster.ts'
import { virtualMachineReadiness } from '../../kubernetes/readiness.ts'
import { applyObject, waitForApplied } from '../apply-own.ts'
import { defineOperation, type PerformContext, type Performed } from '../define-operation.ts'
import { PermanentError } from '../errors.ts'
import { clusterName } from '../input-fields.ts'
import { describeObject, type TargetObject } from '../object-target.ts'
import { changeMachine, findMachine, previewChange } from './change-machine.ts'
import { machineResult } from './machine-fields.ts'
import { machineIdentity, machineTarget, restartAnnotation, toDesired } from './machine-object.ts'

const input = z.strictObject({ ...machineIdentity, cluster: clusterName })
type Identity = z.output<typeof input>

const common = {
  input,
  class: 'short' as const,
  cluster: ({ cluster }: Identity) => cluster,
  uniqueKey: machineTarget,
  target: machineTarget,
  finish: machineResult,
}

/** `POST /vms/{namespace}/{name}/start`: run strategy Always; done when it runs. */
export const vmStart = defineOperation({
  ...common,
  type: 'vm.start',
  title: 'Start a virtual machine',
  route: { method: 'POST', path: '/vms/:namespace/:name/start' },
  perform: (context, machine) =>
    changeMachine(context, machineTarget(machine), (standing) => ({ ...standing, run_strategy: 'Always' })),
  dryRun: (context, machine) =>
    previewChange(context, machineTarget(machine), (standing) => ({ ...standing, run_strategy: 'Always' })),
})

/** `POST /vms/{namespace}/{name}/stop`: run strategy Halted; done when no instance is left. */
export const vmStop = defineOperation({
  ...common,
  type: 'vm.stop',
  title: 'Stop a virtual machine',
  route: { method: 'POST', path: '/vms/:namespace/:name/stop' },
  perform: (context, machine) =>
    changeMachine(context, machineTarget(machine), (standing) => ({ ...standing, run_strategy: 'Halted' })),
  dryRun: (context, machine) =>
    previewChange(context, machineTarget(machine), (standing) => ({ ...standing, run_strategy: 'Halted' })),
})

/** `POST /vms/{namespace}/{name}/restart`: a new instance, running. */
export const vmRestart = defineOperation({
  ...common,
  type: 'vm.restart',
  title: 'Restart a virtual machine',
  route: { method: 'POST', path: '/vms/:namespace/:name/restart' },
  perform: (context, machine) => restart(context, machineTarget(machine)),
  async dryRun(context, machine) {
    const target = machineTarget(machine)
    await findMachine(context, target)
    const instance = await findInstance(context.cluster(target.cluster), target, context.signal)
    return instance
      ? {
          diff: `- VirtualMachineInstance ${machine.name} (uid ${instance.metadata.uid})\n+ VirtualMachineInstance ${machine.name}`,
          warnings: [],
        }
      : { diff: '', warnings: [`${describeObject(target)} does not run: the task would fail with not_running.`] }
  },
})

// May run twice: which instance is to go is written on the machine first, and only that one is ever replaced.
async function restart(context: PerformContext, target: TargetObject): Promise<Performed> {
  const { live, machine } = await findMachine(context, target)
  const cluster = context.cluster(target.cluster)
  const noted = live.metadata.annotations?.[restartAnnotation]?.split(' ') ?? []
  const instance = await findInstance(cluster, target, context.signal)
  const again = noted[0] === context.taskId
  const replaced = again ? noted[1] : instance?.metadata.uid
  if (replaced === undefined) {
    throw new PermanentError(`${describeObject(target)} does not run: there is nothing to restart. Start it.`, {
      code: 'not_running',
    })
  }
  const before = (again ? noted[2] : readySince(live)) ?? 'never'
  const annotations = { [restartAnnotation]: `${context.taskId} ${replaced} ${before}` }
  const desired = toDesired({ ...machine, annotations })
  const object = await applyObject(context, { target, desired, mustBeOurs: false, uid: live.metadata.uid })
  if (instance?.metadata.uid === replaced) {
    const { namespace, name } = target.ref
    await cluster.request({
      method: 'PUT',
      path: `/apis/subresources.kubevirt.io/v1/namespaces/${namespace}/virtualmachines/${name}/restart`,
      body: {},
      signal: context.signal,
    })
  }
  // Ready must have turned True again since: until the controller has seen the restart, it still says so of the old one.
  const turned = `object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True' && c.lastTransitionTime != '${before}')`
  return waitForApplied(context, { target, object, rules: { ...virtualMachineReadiness, ready: turned } })
}

async function findInstance(
  cluster: ReturnType<PerformContext['cluster']>,
  target: TargetObject,
  signal: AbortSignal,
): Promise<KubernetesObject | undefined> {
  return cluster.get({ ...target.ref, kind: 'VirtualMachineInstance' }, { signal })
}

const statusSchema = z.object({
  conditions: z.array(z.object({ type: z.string(), lastTransitionTime: z.string().nullish() })),
})

function readySince(object: KubernetesObject): string | undefined {
  const { conditions = [] } = statusSchema.safeParse(object['status']).data ?? {}
  return conditions.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? undefined
}
