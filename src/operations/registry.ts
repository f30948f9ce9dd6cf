import type { Operation } from './define-operation.ts'
import { dnsZoneCreate } from './dns-zone/dns-zone-create.ts'
import { dnsZoneDelete } from './dns-zone/dns-zone-delete.ts'
import { projectCreate } from './project/project-create.ts'
import { projectDelete } from './project/project-delete.ts'
import { resourceApply } from './resource/resource-apply.ts'
import { resourceDelete } from './resource/resource-delete.ts'
import { vmCreate } from './virtual-machine/vm-create.ts'
import { vmDelete } from './virtual-machine/vm-delete.ts'
import { vmModify } from './virtual-machine/vm-modify.ts'
import { vmRestart, vmStart, vmStop } from './virtual-machine/vm-power.ts'

/** The operations that a process offers, by type. */
export interface OperationRegistry {
  get(type: string): Operation | undefined
  all(): readonly Operation[]
}

/** Throws when two operations share a type or a route. */
export function createOperationRegistry(operations: readonly Operation[]): OperationRegistry {
  const byType = new Map<string, Operation>()
  const routes = new Set<string>()
  for (const operation of operations) {
    if (byType.has(operation.type)) throw new Error(`Two operations are called ${operation.type}; rename one`)
    byType.set(operation.type, operation)
    if (!operation.route) continue
    const route = `${operation.route.method} ${operation.route.path}`
    if (routes.has(route)) throw new Error(`Two operations are on ${route}; move one`)
    routes.add(route)
  }
  return { get: (type) => byType.get(type), all: () => operations }
}

export const builtInOperations: readonly Operation[] = [
  projectCreate,
  projectDelete,
  vmCreate,
  vmModify,
  vmDelete,
  vmStart,
  vmStop,
  vmRestart,
  dnsZoneCreate,
  dnsZoneDelete,
  resourceApply,
  resourceDelete,
]
