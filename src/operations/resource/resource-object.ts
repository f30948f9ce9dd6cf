import type { DesiredObject } from '../../kubernetes/cluster.ts'
import type { TargetObject } from '../object-target.ts'

/** What names an object of any kind. */
export interface NamedObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string | undefined }
}

export function resourceTarget(cluster: string, { apiVersion, kind, metadata }: NamedObject): TargetObject {
  const { name, namespace } = metadata
  return { cluster, ref: { apiVersion, kind, name, ...(namespace !== undefined && { namespace }) } }
}

/** The manifest as it came: its schema has checked what names it, and the API server checks the rest, strictly. */
export const asDesired = (manifest: NamedObject): DesiredObject => manifest as DesiredObject
