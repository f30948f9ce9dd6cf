import { z } from 'zod'
import { virtualMachineReadiness } from '../../kubernetes/readiness.ts'
import { applyObject, previewApply, waitForApplied } from '../apply-own.ts'
import { defineOperation } from '../define-operation.ts'
import { clusterName } from '../input-fields.ts'
import { type Machine, machineIdentity, machineTarget, runStrategy, toDesired } from './machine-object.ts'
import { cpu, labels, machineResult, memory } from './machine-fields.ts'

const input = z.strictObject({
  ...machineIdentity,
  cpu,
  memory,
  image: z.string().min(1).max(1024).optional().describe('Container image that holds the disk; or give a volume'),
  volume: z.string().min(1).max(253).optional().describe('PersistentVolumeClaim that holds the disk; or give an image'),
  run_strategy: runStrategy.default('Always'),
  cloud_init: z.string().max(16_384).optional().describe('cloud-init user data: a secret, shown to nobody'),
  labels: labels.optional(),
  cluster: clusterName,
})

/** `POST /vms`: ready when the machine runs, or is stopped where its run strategy says so. */
export const vmCreate = defineOperation({
  type: 'vm.create',
  title: 'Create a virtual machine',
  route: { method: 'POST', path: '/vms' },
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: machineTarget,
  target: machineTarget,
  validate: ({ image, volume }) =>
    (image === undefined) === (volume === undefined)
      ? [{ pointer: '/image', message: 'give exactly one of image and volume' }]
      : [],
  secrets: ({ cloud_init }) => (cloud_init === undefined ? [] : ['/cloud_init']),

  async perform(context, machine) {
    const target = machineTarget(machine)
    const object = await applyObject(context, { target, desired: toDesired(toMachine(machine)), mustBeOurs: true })
    return waitForApplied(context, { target, object, rules: virtualMachineReadiness })
  },

  finish: machineResult,

  dryRun: (context, machine) =>
    previewApply(context, { target: machineTarget(machine), desired: toDesired(toMachine(machine)), mustBeOurs: true }),
})

function toMachine({ image, volume, cluster: _cluster, ...machine }: z.output<typeof input>): Machine {
  return { ...machine, disk: image === undefined ? { volume: volume ?? '' } : { image } }
}
