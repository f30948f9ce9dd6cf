import { defineKind } from '../define-kind.ts'
import { invalid, required, type FieldError } from '../field-error.ts'
import { objectAt, stringAt, valueAt } from '../json.ts'
import type { KubernetesObject } from '../kubernetes-object.ts'
import {
  anything,
  boolean,
  integer,
  list,
  listMap,
  object,
  objectMeta,
  string,
  stringMap,
  type Schema,
} from '../schema.ts'

const group = 'kubevirt.io'

const named = { ...object({ name: string }, ['name']), 'x-kubernetes-preserve-unknown-fields': true } satisfies Schema

const instanceSpec = object(
  {
    domain: anything,
    volumes: listMap(['name'], named),
    networks: listMap(['name'], named),
    accessCredentials: list(anything),
    affinity: anything,
    architecture: string,
    dnsConfig: anything,
    dnsPolicy: string,
    evictionStrategy: string,
    hostname: string,
    livenessProbe: anything,
    nodeSelector: stringMap,
    priorityClassName: string,
    readinessProbe: anything,
    resourceClaims: list(anything),
    schedulerName: string,
    startStrategy: string,
    subdomain: string,
    terminationGracePeriodSeconds: integer,
    tolerations: list(anything),
    topologySpreadConstraints: list(anything),
  },
  ['domain'],
)

/** KubeVirt's conditions know no observedGeneration. */
const conditions = listMap(
  ['type'],
  object(
    {
      type: string,
      status: string,
      reason: string,
      message: string,
      lastProbeTime: { type: 'string', format: 'date-time', nullable: true },
      lastTransitionTime: { type: 'string', format: 'date-time', nullable: true },
    },
    ['type', 'status'],
  ),
)

const matcher = object({ kind: string, name: string, inferFromVolume: string, revisionName: string })

export const virtualMachineKind = defineKind({
  group,
  version: 'v1',
  kind: 'VirtualMachine',
  plural: 'virtualmachines',
  shortNames: ['vm', 'vms'],
  categories: ['all'],
  namespaced: true,
  custom: true,
  schema: object(
    {
      spec: object(
        {
          running: boolean,
          runStrategy: { type: 'string', enum: ['Always', 'Halted', 'Manual', 'RerunOnFailure', 'Once'] },
          instancetype: matcher,
          preference: matcher,
          template: object({ metadata: { ...objectMeta, nullable: true }, spec: instanceSpec }),
          dataVolumeTemplates: list(anything),
          updateVolumesStrategy: string,
        },
        ['template'],
      ),
      status: object({
        conditions,
        created: boolean,
        ready: boolean,
        printableStatus: { type: 'string', default: 'Stopped' },
        observedGeneration: integer,
        desiredGeneration: integer,
        runStrategy: string,
        startFailure: anything,
        stateChangeRequests: list(object({ action: string, uid: string, data: stringMap }, ['action'])),
        volumeSnapshotStatuses: list(anything),
        volumeRequests: list(anything),
      }),
    },
    ['spec'],
  ),
  columns: [
    { name: 'Status', type: 'string', value: '.status.printableStatus' },
    { name: 'Ready', type: 'string', value: '.status.conditions[?(@.type=="Ready")].status' },
  ],
  hooks: { validate: validateMachine },
})

export const virtualMachineInstanceKind = defineKind({
  group,
  version: 'v1',
  kind: 'VirtualMachineInstance',
  plural: 'virtualmachineinstances',
  shortNames: ['vmi', 'vmis'],
  categories: ['all'],
  namespaced: true,
  custom: true,
  // As KubeVirt declares it: the instance has no status endpoint of its own.
  statusSubresource: false,
  schema: object(
    {
      spec: instanceSpec,
      status: object({
        phase: string,
        nodeName: string,
        reason: string,
        conditions,
        interfaces: list(anything),
        guestOSInfo: anything,
        phaseTransitionTimestamps: list(anything),
        runtimeUser: integer,
      }),
    },
    ['spec'],
  ),
  columns: [
    { name: 'Phase', type: 'string', value: '.status.phase' },
    { name: 'IP', type: 'string', value: '.status.interfaces[0].ipAddress' },
    { name: 'NodeName', type: 'string', value: '.status.nodeName' },
    { name: 'Ready', type: 'string', value: '.status.conditions[?(@.type=="Ready")].status' },
  ],
})

function validateMachine(machine: KubernetesObject): FieldError[] {
  const errors: FieldError[] = []
  const running = valueAt(machine, 'spec', 'running')
  const strategy = stringAt(machine, 'spec', 'runStrategy')
  if (running !== undefined && strategy !== undefined) {
    errors.push(
      invalid(
        'spec.running',
        running,
        'Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead',
      ),
    )
  }
  if (running === undefined && strategy === undefined) {
    errors.push(required('spec.runStrategy', 'One of Running or RunStrategy must be specified'))
  }
  if (objectAt(machine, 'spec', 'template', 'spec') === undefined) {
    errors.push(required('spec.template.spec', 'missing virtual machine template.'))
  }
  return errors
}
