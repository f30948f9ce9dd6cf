import { age, defineKind } from '../define-kind.ts'
import { forbiddenField, invalid, required, type FieldError } from '../field-error.ts'
import { equalJson, isObject, listAt, numberAt, objectAt, stringAt, valueAt, type Json } from '../json.ts'
import type { KubernetesObject } from '../kubernetes-object.ts'
import type { PrinterColumn } from '../resource-kind.ts'
import { matchesSelector } from '../selectors.ts'
import { typedSchema } from './typed-schema.ts'

export const podKind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  shortNames: ['po'],
  categories: ['all'],
  namespaced: true,
  schema: typedSchema('V1Pod'),
  columns: [
    { name: 'Ready', type: 'string', value: (pod) => readyContainers(pod) },
    { name: 'Status', type: 'string', value: (pod) => podStatus(pod) },
    { name: 'Restarts', type: 'string', value: (pod) => restarts(pod) },
  ],
  selectableFields: ['spec.nodeName', 'spec.restartPolicy', 'spec.schedulerName', 'status.phase', 'status.podIP'],
  hooks: {
    prepare(pod, live) {
      defaultContainers(pod, ['spec'])
      const spec = objectAt(pod, 'spec')
      // Of pods only, not of the templates of others.
      if (spec) spec['enableServiceLinks'] ??= true
      if (live === undefined) pod['status'] = { phase: 'Pending', qosClass: 'BestEffort' }
    },
    validate(pod, live) {
      const errors = requireContainers(pod, ['spec'])
      if (live !== undefined && !equalJson(fixedSpec(pod), fixedSpec(live))) {
        errors.push(
          forbiddenField(
            'spec',
            'pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only additions to existing tolerations), `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
          ),
        )
      }
      return errors
    },
    graceSeconds: (pod) => (stringAt(pod, 'spec', 'nodeName') === undefined ? 0 : 30),
  },
})

const wideColumns: readonly PrinterColumn[] = [
  {
    name: 'Containers',
    type: 'string',
    priority: 1,
    value: (object) =>
      containersOf(object, ['spec', 'template', 'spec'])
        .map((c) => stringAt(c, 'name'))
        .join(','),
  },
  {
    name: 'Images',
    type: 'string',
    priority: 1,
    value: (object) =>
      containersOf(object, ['spec', 'template', 'spec'])
        .map((c) => stringAt(c, 'image'))
        .join(','),
  },
]

export const deploymentKind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'Deployment',
  plural: 'deployments',
  shortNames: ['deploy'],
  categories: ['all'],
  namespaced: true,
  schema: typedSchema('V1Deployment'),
  scale: { specReplicas: '.spec.replicas', statusReplicas: '.status.replicas', labelSelector: '.spec.selector' },
  columns: [
    {
      name: 'Ready',
      type: 'string',
      value: (object) => `${count(object, 'status', 'readyReplicas')}/${count(object, 'spec', 'replicas')}`,
    },
    { name: 'Up-to-date', type: 'integer', value: (object) => count(object, 'status', 'updatedReplicas') },
    { name: 'Available', type: 'integer', value: (object) => count(object, 'status', 'availableReplicas') },
    ...wideColumns,
  ],
  hooks: { prepare: prepareDeployment, validate: (object, live) => validateTemplate(object, live) },
})

function prepareDeployment(deployment: KubernetesObject): void {
  defaultContainers(deployment, ['spec', 'template', 'spec'])
  const spec = objectAt(deployment, 'spec') ?? {}
  const { type = 'RollingUpdate', rollingUpdate, ...rest } = objectAt(spec, 'strategy') ?? {}
  const pace = type === 'RollingUpdate' ? { maxUnavailable: '25%', maxSurge: '25%' } : undefined
  const paced = isObject(rollingUpdate) ? { ...pace, ...rollingUpdate } : pace
  spec['strategy'] = { ...rest, type, ...(paced && { rollingUpdate: paced }) }
}

export const replicaSetKind = defineKind({
  group: 'apps',
  version: 'v1',
  kind: 'ReplicaSet',
  plural: 'replicasets',
  shortNames: ['rs'],
  categories: ['all'],
  namespaced: true,
  schema: typedSchema('V1ReplicaSet'),
  scale: { specReplicas: '.spec.replicas', statusReplicas: '.status.replicas', labelSelector: '.spec.selector' },
  columns: [
    { name: 'Desired', type: 'integer', value: (object) => count(object, 'spec', 'replicas') },
    { name: 'Current', type: 'integer', value: (object) => count(object, 'status', 'replicas') },
    { name: 'Ready', type: 'integer', value: (object) => count(object, 'status', 'readyReplicas') },
    ...wideColumns,
  ],
  selectableFields: ['status.replicas'],
  hooks: {
    prepare: (object) => defaultContainers(object, ['spec', 'template', 'spec']),
    validate: (object, live) => validateTemplate(object, live),
  },
})

export const jobKind = defineKind({
  group: 'batch',
  version: 'v1',
  kind: 'Job',
  plural: 'jobs',
  categories: ['all'],
  namespaced: true,
  schema: typedSchema('V1Job'),
  columns: [
    { name: 'Status', type: 'string', value: (job) => jobStatus(job) },
    {
      name: 'Completions',
      type: 'string',
      value: (job) => `${count(job, 'status', 'succeeded')}/${count(job, 'spec', 'completions')}`,
    },
    { name: 'Duration', type: 'string', value: (job, now) => duration(job, now) },
    ...wideColumns,
  ],
  selectableFields: ['status.successful'],
  hooks: { prepare: prepareJob, validate: validateJob },
})

function prepareJob(job: KubernetesObject, live: KubernetesObject | undefined): void {
  defaultContainers(job, ['spec', 'template', 'spec'])
  if (live !== undefined) return
  // The server gives each Job a selector of its own, from its uid.
  const uid = job.metadata['uid'] ?? ''
  const { name } = job.metadata
  const labels = {
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  }
  const spec = objectAt(job, 'spec') ?? {}
  const template = objectAt(spec, 'template') ?? {}
  const metadata = objectAt(template, 'metadata') ?? {}
  const marked = { ...objectAt(metadata, 'labels'), ...labels }
  template['metadata'] = { ...metadata, labels: marked }
  if (Object.keys(job.metadata.labels ?? {}).length === 0) job.metadata.labels = { ...marked }
  spec['selector'] = { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } }
}

function validateJob(job: KubernetesObject, live: KubernetesObject | undefined): FieldError[] {
  const errors = requireContainers(job, ['spec', 'template', 'spec'])
  const policy = stringAt(job, 'spec', 'template', 'spec', 'restartPolicy')
  if (policy !== 'Never' && policy !== 'OnFailure') {
    errors.push({
      reason: 'FieldValueNotSupported',
      field: 'spec.template.spec.restartPolicy',
      message: `Unsupported value: ${JSON.stringify(policy ?? '')}: supported values: "OnFailure", "Never"`,
    })
  }
  if (live === undefined) return errors
  for (const field of ['template', 'selector', 'completionMode']) {
    if (!equalJson(valueAt(job, 'spec', field), valueAt(live, 'spec', field))) {
      errors.push(invalid(`spec.${field}`, '', 'field is immutable'))
    }
  }
  return errors
}

function validateTemplate(object: KubernetesObject, live: KubernetesObject | undefined): FieldError[] {
  const errors = requireContainers(object, ['spec', 'template', 'spec'])
  const selector = objectAt(object, 'spec', 'selector') ?? {}
  const labels = objectAt(object, 'spec', 'template', 'metadata', 'labels') ?? {}
  if (Object.keys(selector).length === 0) {
    errors.push(invalid('spec.selector', selector, 'empty selector is invalid for deployment'))
  } else if (!matchesSelector(labels, selector)) {
    errors.push(invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'))
  }
  const before = live === undefined ? undefined : objectAt(live, 'spec', 'selector')
  if (before !== undefined && !equalJson(before, selector)) {
    errors.push(invalid('spec.selector', selector, 'field is immutable'))
  }
  const policy = stringAt(object, 'spec', 'template', 'spec', 'restartPolicy')
  if (policy !== undefined && policy !== 'Always') {
    errors.push({
      reason: 'FieldValueNotSupported',
      field: 'spec.template.spec.restartPolicy',
      message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Always"`,
    })
  }
  return errors
}

function requireContainers(object: KubernetesObject, path: readonly string[]): FieldError[] {
  const containers = listAt(object, ...path, 'containers')
  const field = `${path.join('.')}.containers`
  if (containers.length === 0) return [required(field)]
  return containers.flatMap((container, index) =>
    (stringAt(container, 'image') ?? '') === '' ? [required(`${field}[${index}].image`)] : [],
  )
}

/** Images without a tag, or with the tag `latest`, are always pulled. */
function defaultContainers(object: KubernetesObject, path: readonly string[]): void {
  for (const container of [...containersOf(object, path), ...listAt(object, ...path, 'initContainers')]) {
    if (!isObject(container) || container['imagePullPolicy'] !== undefined) continue
    const image = stringAt(container, 'image') ?? ''
    const tag = /:([^/:]+)$/.exec(image)?.[1] ?? 'latest'
    container['imagePullPolicy'] = tag === 'latest' && !image.includes('@') ? 'Always' : 'IfNotPresent'
  }
}

function containersOf(object: KubernetesObject, path: readonly string[]): Json[] {
  return listAt(object, ...path, 'containers')
}

/** A pod's specification without the few fields that may change. */
function fixedSpec(pod: KubernetesObject): Json {
  const spec = { ...objectAt(pod, 'spec') }
  for (const field of ['activeDeadlineSeconds', 'tolerations', 'terminationGracePeriodSeconds', 'nodeName']) {
    delete spec[field]
  }
  for (const field of ['containers', 'initContainers']) {
    const containers = spec[field]
    if (!Array.isArray(containers)) continue
    spec[field] = containers.map((container) => (isObject(container) ? { ...container, image: '' } : container))
  }
  return spec
}

function count(object: KubernetesObject, ...path: readonly string[]): number {
  return numberAt(object, ...path) ?? 0
}

function readyContainers(pod: KubernetesObject): string {
  const statuses = listAt(pod, 'status', 'containerStatuses')
  const ready = statuses.filter((status) => valueAt(status, 'ready') === true).length
  return `${ready}/${containersOf(pod, ['spec']).length}`
}

function restarts(pod: KubernetesObject): string {
  const statuses = listAt(pod, 'status', 'containerStatuses')
  return String(statuses.reduce<number>((sum, status) => sum + (numberAt(status, 'restartCount') ?? 0), 0))
}

function podStatus(pod: KubernetesObject): string {
  if (pod.metadata['deletionTimestamp'] !== undefined) return 'Terminating'
  for (const status of listAt(pod, 'status', 'containerStatuses')) {
    const waiting = stringAt(status, 'state', 'waiting', 'reason')
    if (waiting !== undefined) return waiting
    const terminated = stringAt(status, 'state', 'terminated', 'reason')
    if (terminated !== undefined) return terminated
  }
  return stringAt(pod, 'status', 'phase') ?? 'Unknown'
}

function jobStatus(job: KubernetesObject): string {
  for (const type of ['Complete', 'Failed', 'Suspended', 'FailureTarget', 'SuccessCriteriaMet']) {
    const condition = listAt(job, 'status', 'conditions').find((known) => stringAt(known, 'type') === type)
    if (condition !== undefined && stringAt(condition, 'status') === 'True') return type
  }
  return job.metadata['deletionTimestamp'] === undefined ? 'Running' : 'Terminating'
}

function duration(job: KubernetesObject, now: number): string {
  const start = stringAt(job, 'status', 'startTime')
  if (start === undefined) return ''
  const end = stringAt(job, 'status', 'completionTime')
  return age(start, end === undefined ? now : Date.parse(end))
}
