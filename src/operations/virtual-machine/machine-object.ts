import { z } from 'zod'
import type { DesiredObject, KubernetesObject } from '../../kubernetes/cluster.ts'
import { objectName } from '../input-fields.ts'
import type { TargetObject } from '../object-target.ts'

const machineApiVersion = 'kubevirt.io/v1'

export const machineIdentity = {
  name: objectName(63),
  namespace: objectName(63),
}

export const machineTarget = (machine: { cluster: string; namespace: string; name: string }): TargetObject => ({
  cluster: machine.cluster,
  ref: { apiVersion: machineApiVersion, kind: 'VirtualMachine', namespace: machine.namespace, name: machine.name },
})

export const runStrategy = z
  .enum(['Always', 'RerunOnFailure', 'Manual', 'Halted', 'Once'])
  .describe('KubeVirt run strategy: when the machine runs')

/** A machine as Sluice makes it: what `vm.create` asks for, and what every later change applies again as a whole. */
export interface Machine {
  readonly name: string
  readonly namespace: string
  readonly cpu: number
  readonly memory: string
  readonly disk: { readonly image: string } | { readonly volume: string }
  readonly run_strategy: z.output<typeof runStrategy>
  readonly cloud_init?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/** The `VirtualMachine` for a machine. */
export function toDesired(machine: Machine): DesiredObject {
  const { name, namespace, cloud_init: cloudInit } = machine
  const root =
    'image' in machine.disk
      ? { containerDisk: { image: machine.disk.image } }
      : { persistentVolumeClaim: { claimName: machine.disk.volume } }
  const disk = (diskName: string) => ({ name: diskName, disk: { bus: 'virtio' } })
  return {
    apiVersion: machineApiVersion,
    kind: 'VirtualMachine',
    metadata: {
      name,
      namespace,
      ...(machine.labels && { labels: { ...machine.labels } }),
      ...(machine.annotations && { annotations: { ...machine.annotations } }),
    },
    spec: {
      runStrategy: machine.run_strategy,
      template: {
        metadata: { labels: { 'sluice.dev/machine': name } },
        spec: {
          domain: {
            cpu: { cores: machine.cpu },
            memory: { guest: machine.memory },
            devices: {
              disks: [disk('root'), ...(cloudInit === undefined ? [] : [disk('cloud-init')])],
              interfaces: [{ name: 'default', masquerade: {} }],
            },
          },
          networks: [{ name: 'default', pod: {} }],
          volumes: [
            { name: 'root', ...root },
            ...(cloudInit === undefined ? [] : [{ name: 'cloud-init', cloudInitNoCloud: { userData: cloudInit } }]),
          ],
        },
      },
    },
  }
}

const machineSchema = z.object({
  spec: z.object({
    runStrategy,
    template: z.object({
      spec: z.object({
        domain: z.object({ cpu: z.object({ cores: z.number() }), memory: z.object({ guest: z.string() }) }),
        volumes: z.array(
          z.object({
            name: z.string(),
            containerDisk: z.object({ image: z.string() }).optional(),
            persistentVolumeClaim: z.object({ claimName: z.string() }).optional(),
            cloudInitNoCloud: z.object({ userData: z.string() }).optional(),
          }),
        ),
      }),
    }),
  }),
})

const ownLabels = /^(sluice\.dev\/|app\.kubernetes\.io\/managed-by$)/

/** Reads a machine back from its object; undefined when it is not one of the shape that Sluice makes. */
export function readMachine(object: KubernetesObject): Machine | undefined {
  const { spec } = machineSchema.safeParse(object).data ?? {}
  if (!spec) return undefined
  const { domain, volumes } = spec.template.spec
  const root = volumes.find(({ name }) => name === 'root')
  const disk = root?.containerDisk
    ? { image: root.containerDisk.image }
    : root?.persistentVolumeClaim && { volume: root.persistentVolumeClaim.claimName }
  if (!disk) return undefined
  const labels = Object.entries(object.metadata.labels ?? {}).filter(([key]) => !ownLabels.test(key))
  const restart = object.metadata.annotations?.[restartAnnotation]
  return {
    name: object.metadata.name,
    namespace: object.metadata.namespace ?? 'default',
    cpu: domain.cpu.cores,
    memory: domain.memory.guest,
    disk,
    run_strategy: spec.runStrategy,
    cloud_init: volumes.find(({ name }) => name === 'cloud-init')?.cloudInitNoCloud?.userData,
    labels: Object.fromEntries(labels),
    ...(restart !== undefined && { annotations: { [restartAnnotation]: restart } }),
  }
}

/** Which task restarted the machine last, and which instance it replaced: a second run knows what is done. */
export const restartAnnotation = 'sluice.dev/restart'
