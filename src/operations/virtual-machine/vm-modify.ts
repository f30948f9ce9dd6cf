import { z } from 'zod'
import { defineOperation } from '../define-operation.ts'
import { clusterName } from '../input-fields.ts'
import { changeMachine, previewChange } from './change-machine.ts'
import { cpu, labels, machineResult, memory } from './machine-fields.ts'
import { type Machine, machineIdentity, machineTarget, runStrategy } from './machine-object.ts'

const input = z.strictObject({
  ...machineIdentity,
  cpu: cpu.optional(),
  memory: memory.optional(),
  run_strategy: runStrategy.optional(),
  labels: labels.optional().describe('Replaces the labels'),
  cluster: clusterName,
})

/** `PATCH /vms/{namespace}/{name}`: what is left out stays. `restart_required` says that it waits for the next start. */
export const vmModify = defineOperation({
  type: 'vm.modify',
  title: 'Change a virtual machine',
  route: { method: 'PATCH', path: '/vms/:namespace/:name' },
  input,
  class: 'short',
  cluster: ({ cluster }) => cluster,
  target: machineTarget,
  perform: (context, wanted) => changeMachine(context, machineTarget(wanted), changedBy(wanted)),
  finish: machineResult,
  dryRun: (context, wanted) => previewChange(context, machineTarget(wanted), changedBy(wanted)),
})

const changedBy =
  (wanted: z.output<typeof input>) =>
  (machine: Machine): Machine => ({
    ...machine,
    cpu: wanted.cpu ?? machine.cpu,
    memory: wanted.memory ?? machine.memory,
    run_strategy: wanted.run_strategy ?? machine.run_strategy,
    labels: wanted.labels ?? machine.labels,
  })
