import type { KindHooks, PrinterColumn, ResourceKind } from './resource-kind.ts'
import { withObjectMeta, type Schema } from './schema.ts'

export interface KindDeclaration {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  /** Without type and metadata, which every kind has. */
  readonly schema: Schema
  readonly shortNames?: readonly string[]
  readonly categories?: readonly string[]
  /** @default true */
  readonly statusSubresource?: boolean
  /** @default true */
  readonly hasGeneration?: boolean
  /** @default false */
  readonly custom?: boolean
  readonly scale?: ResourceKind['scale']
  readonly columns?: readonly PrinterColumn[]
  readonly selectableFields?: readonly string[]
  readonly hooks?: KindHooks
}

export function defineKind(declaration: KindDeclaration): ResourceKind {
  const { scale, columns = [], schema, ...rest } = declaration
  // Kinds of the server itself show their age before what only `-o wide` shows.
  const late = declaration.custom ? [] : columns.filter(({ priority = 0 }) => priority > 0)
  const early = columns.filter((column) => !late.includes(column))
  return {
    shortNames: [],
    categories: [],
    statusSubresource: true,
    hasGeneration: true,
    custom: false,
    selectableFields: [],
    hooks: {},
    ...rest,
    schema: withObjectMeta(schema),
    storageVersion: declaration.version,
    singular: declaration.kind.toLowerCase(),
    columns: [nameColumn, ...early, ageColumn, ...late],
    ...(scale === undefined ? {} : { scale }),
  }
}

export const nameColumn: PrinterColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name is unique within a namespace.',
  value: '.metadata.name',
}

export const ageColumn: PrinterColumn = {
  name: 'Age',
  type: 'string',
  description: 'Time since the object was created.',
  value: (object, now) => age(object.metadata['creationTimestamp'], now),
}

/** As kubectl prints ages: `12s`, `5m30s`, `3h`, `40d`. */
export function age(from: unknown, now: number): string {
  const since = typeof from === 'string' ? Date.parse(from) : Number.NaN
  if (Number.isNaN(since)) return '<unknown>'
  const seconds = Math.max(0, Math.floor((now - since) / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  if (seconds < 120) return `${seconds}s`
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's')
  if (minutes < 180) return `${minutes}m`
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm')
  if (hours < 48) return `${hours}h`
  if (hours < 192) return pair(days, 'd', hours % 24, 'h')
  return days < 730 ? `${days}d` : `${Math.floor(days / 365)}y`
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large}${largeUnit}` : `${large}${largeUnit}${small}${smallUnit}`
}
