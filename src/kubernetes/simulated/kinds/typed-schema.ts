import type { Json } from '../json.ts'
import { anything, boolean, dateTime, objectMeta, quantity, string, type Schema } from '../schema.ts'
import tables from './kubernetes-types.json' with { type: 'json' }

/** Lists whose items merge one by one: their keys. The first one is the key of strategic merge patches. */
const listKeys: Readonly<Record<string, readonly string[]>> = {
  'V1PodSpec.containers': ['name'],
  'V1PodSpec.initContainers': ['name'],
  'V1PodSpec.ephemeralContainers': ['name'],
  'V1PodSpec.volumes': ['name'],
  'V1PodSpec.imagePullSecrets': ['name'],
  'V1PodSpec.hostAliases': ['ip'],
  'V1PodSpec.topologySpreadConstraints': ['topologyKey', 'whenUnsatisfiable'],
  'V1PodSpec.resourceClaims': ['name'],
  'V1PodSpec.schedulingGates': ['name'],
  'V1Container.ports': ['containerPort', 'protocol'],
  'V1Container.env': ['name'],
  'V1Container.volumeMounts': ['mountPath'],
  'V1Container.volumeDevices': ['devicePath'],
  'V1ResourceRequirements.claims': ['name'],
  'V1PodStatus.conditions': ['type'],
  'V1PodStatus.podIPs': ['ip'],
  'V1DeploymentStatus.conditions': ['type'],
  'V1ReplicaSetStatus.conditions': ['type'],
}

/** Objects that are replaced as a whole. */
const atomicTypes = new Set([
  'V1LabelSelector',
  'V1LocalObjectReference',
  'V1TypedLocalObjectReference',
  'V1ConfigMapKeySelector',
  'V1SecretKeySelector',
  'V1ObjectFieldSelector',
  'V1ResourceFieldSelector',
  'V1NodeSelector',
  'V1ObjectReference',
])

const atomicFields = new Set(['V1PodSpec.nodeSelector'])

/** Amounts such as `500m`, which may be written as plain numbers too. */
const quantityMaps = new Set([
  'V1ResourceRequirements.limits',
  'V1ResourceRequirements.requests',
  'V1VolumeResourceRequirements.limits',
  'V1VolumeResourceRequirements.requests',
  'V1PodSpec.overhead',
])

/** What the API server fills in, as far as the schema can say it. */
const defaults: Readonly<Record<string, Json>> = {
  'V1ContainerPort.protocol': 'TCP',
  'V1Container.terminationMessagePath': '/dev/termination-log',
  'V1Container.terminationMessagePolicy': 'File',
  'V1Container.resources': {},
  'V1PodSpec.restartPolicy': 'Always',
  'V1PodSpec.terminationGracePeriodSeconds': 30,
  'V1PodSpec.dnsPolicy': 'ClusterFirst',
  'V1PodSpec.schedulerName': 'default-scheduler',
  'V1PodSpec.securityContext': {},
  'V1DeploymentSpec.replicas': 1,
  'V1DeploymentSpec.revisionHistoryLimit': 10,
  'V1DeploymentSpec.progressDeadlineSeconds': 600,
  'V1DeploymentSpec.strategy': {},
  'V1ReplicaSetSpec.replicas': 1,
  'V1JobSpec.backoffLimit': 6,
  'V1JobSpec.completions': 1,
  'V1JobSpec.parallelism': 1,
  'V1JobSpec.suspend': false,
  'V1JobSpec.completionMode': 'NonIndexed',
  'V1JobSpec.manualSelector': false,
  'V1JobSpec.podReplacementPolicy': 'TerminatingOrFailed',
}

type TypeName = keyof typeof tables

const built = new Map<string, Schema>()

/** Schema of a built-in type, without type and metadata at the top. */
export function typedSchema(name: TypeName): Schema {
  return schemaOfType(name)
}

function schemaOfType(name: string): Schema {
  if (name === 'V1ObjectMeta') return objectMeta
  const known = built.get(name)
  if (known !== undefined) return known
  // A type that contains itself is kept as it comes from the second level on.
  built.set(name, anything)
  const properties: Record<string, Schema> = {}
  const required: string[] = []
  // The generated table's keys are the names of the types.
  const fields: Readonly<Record<string, string>> = (tables as Record<string, Record<string, string>>)[name] ?? {}
  for (const [marked, type] of Object.entries(fields)) {
    const field = marked.endsWith('!') ? marked.slice(0, -1) : marked
    if (marked !== field) required.push(field)
    properties[field] = fieldSchema(`${name}.${field}`, type)
  }
  const schema: Schema = {
    type: 'object',
    properties,
    ...(required.length > 0 ? { required } : {}),
    ...(atomicTypes.has(name) ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  }
  built.set(name, schema)
  return schema
}

function fieldSchema(field: string, type: string): Schema {
  const schema: Schema = quantityMaps.has(field) ? { type: 'object', additionalProperties: quantity } : schemaOf(type)
  const keys = listKeys[field]
  const preset = defaults[field]
  return {
    ...schema,
    ...(preset === undefined ? {} : { default: preset }),
    ...(atomicFields.has(field) ? { 'x-kubernetes-map-type': 'atomic' } : {}),
    ...(keys?.[0] === undefined
      ? {}
      : {
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': keys,
          'x-kubernetes-patch-strategy': 'merge',
          'x-kubernetes-patch-merge-key': keys[0],
        }),
  }
}

function schemaOf(type: string): Schema {
  const list = /^Array<(.+)>(:\w+)?$/.exec(type)
  if (list !== null) {
    return { type: 'array', items: schemaOf(`${list[1] ?? ''}${list[2] ?? ''}`), 'x-kubernetes-list-type': 'atomic' }
  }
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)
  if (map !== null) return { type: 'object', additionalProperties: schemaOf(map[1] ?? '') }
  switch (type) {
    case 'string':
      return string
    case 'string:byte':
      return { type: 'string', format: 'byte' }
    case 'boolean':
      return boolean
    case 'number:int32':
    case 'number:int64':
      return { type: 'integer', format: type.slice('number:'.length) }
    case 'number:double':
      return { type: 'number' }
    case 'Date:date-time':
    case 'V1MicroTime:date-time-micro':
      return dateTime
    case 'IntOrString:int-or-string':
      return { 'x-kubernetes-int-or-string': true }
    case 'any':
      return {}
    default:
      return schemaOfType(type)
  }
}
