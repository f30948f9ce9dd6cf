import { z } from 'zod'
import type { DesiredObject } from '../../kubernetes/cluster.ts'
import type { TargetObject } from '../object-target.ts'

/** What names an object of any kind. */
export interface NamedObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string | undefined }
}

export interface PlacedRequest {
  readonly cluster: string
  readonly base_path?: Readonly<Record<string, string>> | undefined
}

export function resourceTarget({ cluster, base_path }: PlacedRequest, object: NamedObject): TargetObject {
  const { apiVersion, kind, metadata } = object
  const { name, namespace } = metadata
  return {
    cluster,
    ref: { apiVersion, kind, name, ...(namespace !== undefined && { namespace }) },
    ...(base_path && { basePath: base_path }),
  }
}

/** Input of both operations: which control plane behind the server. */
export const basePathVariables = z
  .record(z.string().regex(/^\w{1,64}$/), z.string().min(1).max(253))
  .optional()
  .describe('Fills the base path of a cluster that has one, such as {"org": "acme"}')

/** The manifest as it came: its schema has checked what names it, and the API server checks the rest, strictly. */
export const asDesired = (manifest: NamedObject): DesiredObject => manifest as DesiredObject
