import type { Controller } from './controller.ts'
import { crdController } from './crd-controller.ts'
import { deploymentController } from './deployment-controller.ts'
import { dnsZoneController } from './dns-zone-controller.ts'
import { eventController } from './event-controller.ts'
import { jobController } from './job-controller.ts'
import { namespaceController } from './namespace-controller.ts'
import { podController } from './pod-controller.ts'
import { projectController } from './project-controller.ts'
import { replicaSetController } from './replica-set-controller.ts'
import { virtualMachineInstanceController } from './virtual-machine-instance-controller.ts'
import { virtualMachineController } from './virtual-machine-controller.ts'

/** What an API server cannot do without: they run even where the others are switched off. */
export const housekeepers: readonly Controller[] = [namespaceController, crdController, eventController]

export const controllers: readonly Controller[] = [
  projectController,
  dnsZoneController,
  virtualMachineController,
  virtualMachineInstanceController,
  deploymentController,
  replicaSetController,
  podController,
  jobController,
]
