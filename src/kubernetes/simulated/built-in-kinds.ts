import { configMapKind, eventKind, namespaceKind, secretKind } from './kinds/core.ts'
import { customResourceDefinitionKind } from './kinds/custom-resource-definition.ts'
import { dnsZoneKind } from './kinds/dns-zone.ts'
import { projectKind } from './kinds/project.ts'
import { virtualMachineInstanceKind, virtualMachineKind } from './kinds/virtual-machine.ts'
import { deploymentKind, jobKind, podKind, replicaSetKind } from './kinds/workloads.ts'
import type { ResourceKind } from './resource-kind.ts'

/** Served from the start; further kinds come with their CustomResourceDefinitions. */
export const builtInKinds: readonly ResourceKind[] = [
  namespaceKind,
  configMapKind,
  secretKind,
  eventKind,
  podKind,
  deploymentKind,
  replicaSetKind,
  jobKind,
  customResourceDefinitionKind,
  projectKind,
  dnsZoneKind,
  virtualMachineKind,
  virtualMachineInstanceKind,
]
