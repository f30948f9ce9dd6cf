import type { ObjectRef } from '../kubernetes/cluster.ts'

/** An object of a cluster, below the base path of whoever it belongs to. */
export interface TargetObject {
  readonly cluster: string
  readonly ref: ObjectRef
  /** Fills the cluster's base-path template, where it has one, such as `{ org: 'acme' }`. */
  readonly basePath?: Readonly<Record<string, string>>
}

/** `cluster:group/Kind/namespace/name`: what two active tasks never change at once. */
export function targetName({ cluster, ref }: Pick<TargetObject, 'cluster' | 'ref'>): string {
  const slash = ref.apiVersion.indexOf('/')
  const group = slash < 0 ? '' : ref.apiVersion.slice(0, slash)
  return `${cluster}:${group}/${ref.kind}/${ref.namespace ?? ''}/${ref.name}`
}

/** `cluster/namespace/name`, or `cluster/name`. */
export function keyName({ cluster, ref }: TargetObject): string {
  return [cluster, ref.namespace, ref.name].filter((part) => part !== undefined).join('/')
}

export const describeObject = ({ cluster, ref }: TargetObject): string =>
  `${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name} in cluster ${cluster}`
