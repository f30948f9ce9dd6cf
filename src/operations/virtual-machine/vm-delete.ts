import { z } from 'zod'
import { defineOperation } from '../define-operation.ts'
import { deletedResult, deleteObject, previewDelete, refuseDeleted } from '../delete-object.ts'
import { clusterName } from '../input-fields.ts'
import { machineIdentity, machineTarget } from './machine-object.ts'

/** `DELETE /vms/{namespace}/{name}`: done when the machine is gone, its instance included. */
export const vmDelete = defineOperation({
  type: 'vm.delete',
  title: 'Delete a virtual machine',
  route: { method: 'DELETE', path: '/vms/:namespace/:name' },
  input: z.strictObject({ ...machineIdentity, cluster: clusterName }),
  class: 'short',
  cluster: ({ cluster }) => cluster,
  uniqueKey: machineTarget,
  target: machineTarget,
  precheck: (machine, records) => refuseDeleted(machineTarget(machine), records),
  perform: (context, machine) => deleteObject(context, machineTarget(machine)),
  finish: (_object, machine) => deletedResult(machineTarget(machine)),
  dryRun: (context, machine) => previewDelete(context, machineTarget(machine)),
})
