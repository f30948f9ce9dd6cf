import type { Cluster, ObjectRef } from '../kubernetes/cluster.ts'
import { PermanentError } from './errors.ts'

/** An object of a cluster, below the base path of whoever it belongs to. */
export interface TargetObject {
  readonly cluster: string
  readonly ref: ObjectRef
  /**
   * Fills the cluster's base-path template, where it has one, such as `{ org: 'acme' }`. A variable without a value is one
   * that the request left out.
   */
  readonly basePath?: Readonly<Record<string, string | undefined>>
}

/** An object at its filled base path. */
export interface PlacedObject extends Pick<TargetObject, 'cluster' | 'ref'> {
  /** @default '' (the server itself) */
  readonly basePath?: string | undefined
}

/** `cluster:group/Kind/namespace/name`, its base path behind the cluster: what two active tasks never change at once. */
export function targetName({ cluster, basePath = '', ref }: PlacedObject): string {
  const slash = ref.apiVersion.indexOf('/')
  const group = slash < 0 ? '' : ref.apiVersion.slice(0, slash)
  return `${cluster}${basePath}:${group}/${ref.kind}/${ref.namespace ?? ''}/${ref.name}`
}

/** `cluster/namespace/name`, or `cluster/name`, the base path behind the cluster. */
export function keyName({ cluster, basePath = '', ref }: PlacedObject): string {
  return [`${cluster}${basePath}`, ref.namespace, ref.name].filter((part) => part !== undefined).join('/')
}

export const describeObject = ({ cluster, ref }: Pick<TargetObject, 'cluster' | 'ref'>): string =>
  `${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name} in cluster ${cluster}`

/**
 * The base path before an object. Throws `PermanentError` `base_path_missing` where the cluster has one for each of what
 * the request does not name: the server itself would be another place.
 */
export function fillBasePath(cluster: Pick<Cluster, 'basePathFor'>, target: TargetObject): string {
  const variables = Object.entries(target.basePath ?? {})
  const given = variables.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
  const missing = variables.flatMap(([name, value]) => (value === undefined ? [name] : []))
  if (missing.length > 0 && hasBasePathFor(cluster, Object.keys(target.basePath ?? {}))) {
    throw new PermanentError(
      `Cluster ${target.cluster} has a control plane for each ${missing.join(' and ')}: say which one ${describeObject(target)} is in.`,
      { code: 'base_path_missing' },
    )
  }
  return cluster.basePathFor(Object.fromEntries(given))
}

function hasBasePathFor(cluster: Pick<Cluster, 'basePathFor'>, names: readonly string[]): boolean {
  try {
    return cluster.basePathFor(Object.fromEntries(names.map((name) => [name, 'any']))) !== ''
  } catch {
    return false
  }
}
