import type { Operation } from './define-operation.ts'
import { projectCreate } from './project/project-create.ts'
import { projectDelete } from './project/project-delete.ts'

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

export const builtInOperations: readonly Operation[] = [projectCreate, projectDelete]
