import { makeTable, partialMetadata, type TableOptions } from './table.ts'
import { textOf, type JsonObject } from './json.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { jsonOf } from './object-store.ts'
import { apiVersionOf, type ResourceKind } from './resource-kind.ts'
import { badRequest, notAcceptable } from './status-error.ts'

/** How the caller wants objects: whole, as a table, or their metadata alone. */
export interface Representation {
  readonly form: 'object' | 'table' | 'metadata'
  readonly contentType: string
  readonly includeObject: TableOptions['includeObject']
}

const json = 'application/json'
const tableType = 'application/json;as=Table;v=v1;g=meta.k8s.io'

/** The first form of the `Accept` header that is served here; 406 when there is none. */
export function chooseRepresentation(accept: string, query: URLSearchParams): Representation {
  const includeObject = parseInclude(query.get('includeObject'))
  for (const part of accept === '' ? ['*/*'] : accept.split(',')) {
    const [type = '', ...parameters] = part.trim().split(';')
    const wanted = new Map(parameters.map((parameter) => splitParameter(parameter)))
    if (!['*/*', json, 'application/*'].includes(type.trim())) continue
    const as = wanted.get('as')
    if (as === undefined) return { form: 'object', contentType: json, includeObject }
    if (wanted.get('g') !== 'meta.k8s.io' || wanted.get('v') !== 'v1') continue
    if (as === 'Table') return { form: 'table', contentType: tableType, includeObject }
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') {
      return { form: 'metadata', contentType: `application/json;as=${as};v=v1;g=meta.k8s.io`, includeObject }
    }
  }
  throw notAcceptable([json, tableType])
}

function splitParameter(parameter: string): readonly [string, string] {
  const at = parameter.indexOf('=')
  return [parameter.slice(0, at).trim(), parameter.slice(at + 1).trim()]
}

function parseInclude(text: string | null): TableOptions['includeObject'] {
  if (text === null || text === '') return 'Metadata'
  if (text === 'None' || text === 'Metadata' || text === 'Object') return text
  throw badRequest(`invalid includeObject: ${text}`)
}

export function objectText(
  kind: ResourceKind,
  object: KubernetesObject,
  representation: Representation,
  now: number,
): string {
  switch (representation.form) {
    case 'object':
      return jsonOf(object)
    case 'metadata':
      return JSON.stringify(partialMetadata(object))
    case 'table': {
      const metadata = { resourceVersion: textOf(object.metadata['resourceVersion']) }
      const { includeObject } = representation
      return JSON.stringify(makeTable(kind, [object], { metadata, includeObject, withColumns: true, now }))
    }
  }
}

export interface ListContent {
  readonly kind: ResourceKind
  readonly objects: readonly KubernetesObject[]
  readonly metadata: JsonObject
}

export function listText(
  { kind, objects, metadata }: ListContent,
  representation: Representation,
  now: number,
): string {
  const { form, includeObject } = representation
  if (form === 'table') {
    return JSON.stringify(makeTable(kind, objects, { metadata, includeObject, withColumns: true, now }))
  }
  const head =
    form === 'metadata'
      ? '"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1"'
      : `"kind":"${kind.kind}List","apiVersion":"${apiVersionOf(kind)}"`
  const items = form === 'metadata' ? objects.map((item) => JSON.stringify(partialMetadata(item))) : objects.map(jsonOf)
  return `{${head},"metadata":${JSON.stringify(metadata)},"items":[${items.join(',')}]}`
}
