import type { Clusters } from '../kubernetes/clusters.ts'
import type { Operation } from '../operations/define-operation.ts'
import { fillBasePath, keyName, type TargetObject, targetName } from '../operations/object-target.ts'

/** What the clusters say of where an object stands. */
export interface Places {
  /** The base path before the object; empty where none can be filled: then the task says what is wrong. */
  basePathOf(tenant: string, object: TargetObject): string
}

export function createPlaces(clusters: Pick<Clusters, 'get' | 'keyFor'>): Places {
  return {
    basePathOf: (tenant, object) => {
      try {
        return fillBasePath(clusters.get(clusters.keyFor(tenant, object.cluster)), object)
      } catch {
        return ''
      }
    },
  }
}

/** Without clusters every object stands at the server itself: for tests and measurements. */
const noPlaces: Places = { basePathOf: () => '' }

export interface NamedRequest {
  readonly operation: Operation
  readonly input: unknown
  readonly tenant: string
}

/** The names of what a request changes: no two active tasks share one. */
export function nameRequest(
  { operation, input, tenant }: NamedRequest,
  places: Places = noPlaces,
): { readonly target: string | null; readonly uniqueKey: string | null } {
  const target = operation.target?.(input) ?? null
  const key = operation.uniqueKey?.(input) ?? null
  const placed = (object: TargetObject) => ({ ...object, basePath: places.basePathOf(tenant, object) })
  return {
    target: target === null || typeof target === 'string' ? target : targetName(placed(target)),
    uniqueKey: key === null || typeof key === 'string' ? key : keyName(placed(key)),
  }
}
