import type { JsonObject, Json } from './json.ts'
import { findPath } from './json-path.ts'
import type { KubernetesObject } from './kubernetes-object.ts'
import { age, nameColumn } from './define-kind.ts'
import type { PrinterColumn, ResourceKind } from './resource-kind.ts'

export interface TableOptions {
  readonly metadata: JsonObject
  /** What each row carries of its object. @default 'Metadata' */
  readonly includeObject: 'None' | 'Metadata' | 'Object'
  /** Watches send the columns with their first event only. */
  readonly withColumns: boolean
  readonly now: number
}

/** Objects as `kubectl get` asks for them: the server decides the columns. */
export function makeTable(kind: ResourceKind, objects: readonly KubernetesObject[], options: TableOptions): JsonObject {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.metadata,
    columnDefinitions: options.withColumns ? kind.columns.map(definitionOf) : [],
    rows: objects.map((object) => rowOf(kind, object, options)),
  }
}

/** An object's type and metadata alone. */
export function partialMetadata(object: KubernetesObject): JsonObject {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata }
}

function definitionOf(column: PrinterColumn): JsonObject {
  return {
    name: column.name,
    type: column.type,
    format: column.format ?? (column.name === nameColumn.name ? 'name' : ''),
    description: column.description ?? '',
    priority: column.priority ?? 0,
  }
}

function rowOf(kind: ResourceKind, object: KubernetesObject, { includeObject, now }: TableOptions): JsonObject {
  const row: JsonObject = { cells: kind.columns.map((column) => cellOf(column, object, now)) }
  if (includeObject === 'Metadata') row['object'] = partialMetadata(object)
  if (includeObject === 'Object') row['object'] = object
  return row
}

function cellOf(column: PrinterColumn, object: KubernetesObject, now: number): Json {
  if (typeof column.value === 'function') return column.value(object, now) ?? ''
  const found = findPath(object, column.value)
  const value = found[0]
  if (value === undefined || value === null) return column.type === 'string' ? '' : null
  if (column.type === 'date') return age(value, now)
  if (column.type !== 'string') return value
  return found.map((item) => (typeof item === 'string' ? item : JSON.stringify(item))).join(',')
}
