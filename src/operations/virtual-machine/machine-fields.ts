import { z } from 'zod'
import type { KubernetesObject } from '../../kubernetes/cluster.ts'
import { conditionsOf } from '../../kubernetes/readiness-presets.ts'

export const cpu = z.number().int().min(1).max(512).describe('Cores')
export const memory = z
  .string()
  .regex(/^[1-9][0-9]{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$/, 'must be a quantity such as 2Gi')
  .describe('Kubernetes quantity, such as 2Gi')
export const labels = z.record(
  z
    .string()
    .max(317)
    .regex(/^([a-z0-9.-]{1,253}\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/, 'is not a label key')
    .refine((key) => !/^sluice\.dev\/|^app\.kubernetes\.io\/managed-by$/.test(key), 'is a label of Sluice itself'),
  z.string().max(63),
)

const statusSchema = z.object({ printableStatus: z.string() })

/** The result of whatever was done to a machine. */
export function machineResult(
  object: KubernetesObject | undefined,
  machine: { readonly name: string; readonly namespace: string; readonly cluster: string },
): Record<string, unknown> {
  const { name, namespace, cluster } = machine
  return {
    name,
    namespace,
    cluster,
    uid: object?.metadata.uid ?? null,
    status: statusSchema.safeParse(object?.['status']).data?.printableStatus ?? null,
    // Some changes take effect with the next start only.
    restart_required: object
      ? conditionsOf(object).some(({ type, status }) => type === 'RestartRequired' && status === 'True')
      : false,
  }
}
