import type { KubernetesObject } from '../../kubernetes/cluster.ts'
import { type ReadinessRules, virtualMachineReadiness } from '../../kubernetes/readiness.ts'
import { applyObject, previewApply, waitForApplied } from '../apply-own.ts'
import type { DryRun, DryRunContext, PerformContext, Performed } from '../define-operation.ts'
import { PermanentError } from '../errors.ts'
import { describeObject, type TargetObject } from '../object-target.ts'
import { type Machine, readMachine, toDesired } from './machine-object.ts'

/**
 * Applies a changed machine as a whole: with server-side apply, a field that is left out is a field given up. Pinned to
 * the machine that was read, so that a namesake made in between is left alone.
 */
export async function changeMachine(
  context: PerformContext,
  target: TargetObject,
  change: (machine: Machine) => Machine,
): Promise<Performed> {
  const { live, machine } = await findMachine(context, target)
  const desired = toDesired(change(machine))
  const object = await applyObject(context, { target, desired, mustBeOurs: false, uid: live.metadata.uid })
  return waitForApplied(context, { target, object, rules: rulesAfter(object) })
}

export async function previewChange(
  context: DryRunContext,
  target: TargetObject,
  change: (machine: Machine) => Machine,
): Promise<DryRun> {
  const { machine } = await findMachine(context, target)
  return previewApply(context, { target, desired: toDesired(change(machine)), mustBeOurs: false })
}

/** The machine as it is. Throws `PermanentError` `not_found`, or `not_managed` when its shape is not ours. */
export async function findMachine(
  context: DryRunContext,
  target: TargetObject,
): Promise<{ live: KubernetesObject; machine: Machine }> {
  const live = await context.cluster(target.cluster).get(target.ref, { signal: context.signal })
  if (!live) throw new PermanentError(`There is no ${describeObject(target)}.`, { code: 'not_found' })
  const machine = readMachine(live)
  if (machine) return { live, machine }
  throw new PermanentError(
    `${describeObject(target)} was not made by Sluice and has another shape. Change it with resource.apply.`,
    { code: 'not_managed' },
  )
}

// KubeVirt's conditions carry no observedGeneration: what was Ready before says nothing until the controller has seen
// the change, which `desiredGeneration` tells where the version has it.
function rulesAfter(object: KubernetesObject): ReadinessRules {
  const generation = object.metadata.generation ?? 0
  const seen = `!has(object.status.desiredGeneration) || object.status.desiredGeneration >= ${generation}`
  return { ...virtualMachineReadiness, ready: seen }
}
