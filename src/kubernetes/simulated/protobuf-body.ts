import { isObject, textOf, type Json, type JsonObject } from './json.ts'
import { badRequest, StatusError } from './status-error.ts'

/**
 * Reads the few bodies that kubectl's `create` commands send as protobuf with no fallback to JSON: namespaces,
 * config maps, secrets, deployments, jobs and access reviews. A field that is not in the tables is refused.
 */
export const protobufType = 'application/vnd.kubernetes.protobuf'

type FieldType = 'ignored' | 'string' | 'bytes' | 'integer' | 'boolean' | 'time' | 'stringMap' | 'bytesMap' | Message

interface Field {
  readonly name: string
  readonly type: FieldType
  readonly repeated?: boolean
  /** Zero is a value: the sender leaves the field out when it has none. */
  readonly pointer?: boolean
}

/** Fields by their number. */
interface Message {
  readonly fields: Readonly<Record<number, Field>>
}

function text(name: string): Field {
  return { name, type: 'string' }
}

function integer(name: string): Field {
  return { name, type: 'integer' }
}

function flag(name: string): Field {
  return { name, type: 'boolean' }
}

function pointer(name: string): Field {
  return { name, type: 'integer', pointer: true }
}

function below(name: string, type: Message): Field {
  return { name, type }
}

const objectMeta: Message = {
  fields: {
    1: text('name'),
    2: text('generateName'),
    3: text('namespace'),
    4: text('selfLink'),
    5: text('uid'),
    6: text('resourceVersion'),
    7: integer('generation'),
    8: { name: 'creationTimestamp', type: 'time' },
    11: { name: 'labels', type: 'stringMap' },
    12: { name: 'annotations', type: 'stringMap' },
    14: { name: 'finalizers', type: 'string', repeated: true },
  },
}

const none: Message = { fields: {} }

const container: Message = {
  fields: {
    1: text('name'),
    2: text('image'),
    3: { name: 'command', type: 'string', repeated: true },
    4: { name: 'args', type: 'string', repeated: true },
    5: text('workingDir'),
    6: {
      name: 'ports',
      type: {
        fields: {
          1: text('name'),
          2: integer('hostPort'),
          3: integer('containerPort'),
          4: text('protocol'),
          5: text('hostIP'),
        },
      },
      repeated: true,
    },
    7: { name: 'env', type: { fields: { 1: text('name'), 2: text('value') } }, repeated: true },
    8: below('resources', none),
    13: text('terminationMessagePath'),
    14: text('imagePullPolicy'),
    16: flag('stdin'),
    17: flag('stdinOnce'),
    18: flag('tty'),
    20: text('terminationMessagePolicy'),
  },
}

const podTemplate: Message = {
  fields: {
    1: below('metadata', objectMeta),
    2: below('spec', {
      fields: {
        2: { name: 'containers', type: container, repeated: true },
        3: text('restartPolicy'),
        4: pointer('terminationGracePeriodSeconds'),
        6: text('dnsPolicy'),
        8: text('serviceAccountName'),
        9: text('serviceAccount'),
        10: text('nodeName'),
        11: flag('hostNetwork'),
        12: flag('hostPID'),
        13: flag('hostIPC'),
        14: below('securityContext', none),
        16: text('hostname'),
        17: text('subdomain'),
        19: text('schedulerName'),
        24: text('priorityClassName'),
      },
    }),
  },
}

/** What a new object says about its status does not count. */
const newStatus: Field = { name: 'status', type: 'ignored' }

const labelSelector: Message = { fields: { 1: { name: 'matchLabels', type: 'stringMap' } } }

const kinds: Readonly<Record<string, Message>> = {
  'v1/Namespace': {
    fields: {
      1: below('metadata', objectMeta),
      2: below('spec', { fields: { 1: { name: 'finalizers', type: 'string', repeated: true } } }),
      3: newStatus,
    },
  },
  'v1/ConfigMap': {
    fields: {
      1: below('metadata', objectMeta),
      2: { name: 'data', type: 'stringMap' },
      3: { name: 'binaryData', type: 'bytesMap' },
      4: flag('immutable'),
    },
  },
  'v1/Secret': {
    fields: {
      1: below('metadata', objectMeta),
      2: { name: 'data', type: 'bytesMap' },
      3: text('type'),
      4: { name: 'stringData', type: 'stringMap' },
      5: flag('immutable'),
    },
  },
  'apps/v1/Deployment': {
    fields: {
      1: below('metadata', objectMeta),
      2: below('spec', {
        fields: {
          1: pointer('replicas'),
          2: below('selector', labelSelector),
          3: below('template', podTemplate),
          4: below('strategy', { fields: { 1: text('type') } }),
          5: integer('minReadySeconds'),
          6: pointer('revisionHistoryLimit'),
          7: flag('paused'),
          9: pointer('progressDeadlineSeconds'),
        },
      }),
      3: newStatus,
    },
  },
  'batch/v1/Job': {
    fields: {
      1: below('metadata', objectMeta),
      2: below('spec', {
        fields: {
          1: pointer('parallelism'),
          2: pointer('completions'),
          3: pointer('activeDeadlineSeconds'),
          4: below('selector', labelSelector),
          6: below('template', podTemplate),
          7: pointer('backoffLimit'),
          8: pointer('ttlSecondsAfterFinished'),
        },
      }),
      3: newStatus,
    },
  },
  'authorization.k8s.io/v1/SelfSubjectAccessReview': {
    fields: {
      1: below('metadata', objectMeta),
      2: below('spec', {
        fields: {
          1: below('resourceAttributes', {
            fields: {
              1: text('namespace'),
              2: text('verb'),
              3: text('group'),
              4: text('version'),
              5: text('resource'),
              6: text('subresource'),
              7: text('name'),
            },
          }),
          2: below('nonResourceAttributes', { fields: { 1: text('path'), 2: text('verb') } }),
        },
      }),
      3: newStatus,
    },
  },
  'authentication.k8s.io/v1/SelfSubjectReview': {
    fields: {
      1: below('metadata', objectMeta),
      2: newStatus,
    },
  },
  'v1/DeleteOptions': {
    fields: {
      1: pointer('gracePeriodSeconds'),
      2: below('preconditions', { fields: { 1: text('uid'), 2: text('resourceVersion') } }),
      3: flag('orphanDependents'),
      4: text('propagationPolicy'),
      5: { name: 'dryRun', type: 'string', repeated: true },
    },
  },
}

const magic = Buffer.from([0x6b, 0x38, 0x73, 0])

const envelope: Message = {
  fields: {
    1: below('typeMeta', { fields: { 1: text('apiVersion'), 2: text('kind') } }),
    2: { name: 'raw', type: 'bytes' },
    3: text('contentEncoding'),
    4: text('contentType'),
  },
}

export function parseProtobuf(body: Buffer): JsonObject {
  if (!body.subarray(0, 4).equals(magic)) throw badRequest('the body is no protobuf of the Kubernetes API')
  const { typeMeta, raw } = readMessage(body.subarray(4), envelope, '')
  if (!isObject(typeMeta) || typeof raw !== 'string') throw badRequest('the protobuf envelope holds no object')
  const { apiVersion = '', kind = '' } = typeMeta
  const name = kind === 'DeleteOptions' ? 'v1/DeleteOptions' : `${textOf(apiVersion)}/${textOf(kind)}`
  const message = kinds[name]
  if (message === undefined) throw unsupported(`${name} is not read from protobuf: send it as JSON`)
  return { ...readMessage(Buffer.from(raw, 'base64'), message, ''), apiVersion, kind }
}

function unsupported(message: string): StatusError {
  return new StatusError({ code: 415, reason: 'UnsupportedMediaType', message })
}

interface Cursor {
  readonly bytes: Buffer
  at: number
}

function readMessage(bytes: Buffer, message: Message, path: string): JsonObject {
  const cursor: Cursor = { bytes, at: 0 }
  const result: JsonObject = {}
  while (cursor.at < bytes.length) {
    const tag = readNumber(cursor)
    const number = Math.floor(tag / 8)
    const field = message.fields[number]
    if (field === undefined)
      throw unsupported(
        `field ${number} of ${path === '' ? 'the object' : path} is not read from protobuf: send it as JSON`,
      )
    const inner = path === '' ? field.name : `${path}.${field.name}`
    const value = tag % 8 === 0 ? scalar(readNumber(cursor), field) : readValue(readBytes(cursor), field, inner)
    assign(result, field, value)
  }
  return result
}

function assign(result: JsonObject, field: Field, value: Json): void {
  // The sender writes its empty texts, zeros and falses out; in JSON they are absent.
  if (field.repeated !== true && field.pointer !== true && (value === '' || value === 0 || value === false)) return
  if (field.type === 'ignored') return
  const before = result[field.name]
  if (field.repeated === true) result[field.name] = [...(Array.isArray(before) ? before : []), value]
  else if (field.type === 'stringMap' || field.type === 'bytesMap') {
    result[field.name] = { ...(isObject(before) ? before : {}), ...(isObject(value) ? value : {}) }
  } else result[field.name] = value
}

function scalar(value: number, field: Field): Json {
  return field.type === 'boolean' ? value !== 0 : value
}

function readValue(bytes: Buffer, { type }: Field, path: string): Json {
  switch (type) {
    case 'string':
      return bytes.toString('utf8')
    case 'bytes':
      return bytes.toString('base64')
    case 'stringMap':
    case 'bytesMap': {
      const entry: Message = {
        fields: { 1: text('key'), 2: { name: 'value', type: type === 'bytesMap' ? 'bytes' : 'string' } },
      }
      const { key = '', value = '' } = readMessage(bytes, entry, path)
      return { [textOf(key)]: value }
    }
    case 'ignored':
    case 'time':
      // The server sets times itself; what a new object sends is empty.
      return null
    case 'integer':
    case 'boolean':
      throw badRequest(`${path} is encoded in a way that is not expected`)
    default:
      return readMessage(bytes, type, path)
  }
}

function readBytes(cursor: Cursor): Buffer {
  const length = readNumber(cursor)
  const end = cursor.at + length
  if (end > cursor.bytes.length) throw badRequest('the protobuf body ends early')
  const bytes = cursor.bytes.subarray(cursor.at, end)
  cursor.at = end
  return bytes
}

function readNumber(cursor: Cursor): number {
  let value = 0
  for (let factor = 1; ; factor *= 128) {
    const byte = cursor.bytes[cursor.at]
    if (byte === undefined) throw badRequest('the protobuf body ends early')
    cursor.at += 1
    value += (byte % 128) * factor
    if (byte < 128) return value
  }
}
