import type { KubernetesObject } from './kubernetes-object.ts'

// kubectl's client-side apply keeps the whole manifest there, values included.
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration'

const isSecret = ({ apiVersion, kind }: { readonly apiVersion: string; readonly kind: string }): boolean =>
  apiVersion === 'v1' && kind === 'Secret'

/** A Secret as those may see it who may not read Secrets: its keys, without their values. Other objects as they are. */
export function hideSecretData(object: KubernetesObject): KubernetesObject {
  if (!isSecret(object)) return object
  const { data, stringData, ...shown } = object
  const { [lastApplied]: _, ...annotations } = object.metadata.annotations ?? {}
  return {
    ...shown,
    metadata: { ...object.metadata, ...(object.metadata.annotations && { annotations }) },
    ...(data !== undefined && { data: hideValues(data) }),
    ...(stringData !== undefined && { stringData: hideValues(stringData) }),
  }
}

function hideValues(values: unknown): Record<string, null> {
  const keys = typeof values === 'object' && values !== null ? Object.keys(values) : []
  return Object.fromEntries(keys.map((key) => [key, null]))
}
