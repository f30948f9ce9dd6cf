import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { at, type ApiAnswer, type ApiCall, type ApiClient, type Json, type JsonObject } from './api-client.ts'

/** One behaviour of a Kubernetes API server that Sluice relies on. Runs unchanged against any cluster. */
export interface ConformanceCase {
  readonly area: string
  readonly title: string
  readonly run: (cluster: ConformanceCluster) => Promise<void>
}

export const group = 'conformance.sluice.dev'

/** What a case works with: the API, a namespace of its own run, and a kind of its own. */
export class ConformanceCluster {
  readonly api: ApiClient
  readonly namespace: string
  readonly configMaps: string
  readonly widgets: string
  #counter = 0

  constructor(api: ApiClient, namespace: string) {
    this.api = api
    this.namespace = namespace
    this.configMaps = `/api/v1/namespaces/${namespace}/configmaps`
    this.widgets = `/apis/${group}/v1/namespaces/${namespace}/widgets`
  }

  /** A name that no other case uses. */
  name(prefix = 'case'): string {
    this.#counter += 1
    return `${prefix}-${this.#counter}-${randomBytes(3).toString('hex')}`
  }

  configMap(name: string, data: Record<string, string> = { key: 'value' }, metadata: JsonObject = {}): JsonObject {
    return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...metadata }, data }
  }

  widget(name: string, spec: JsonObject = { size: 1 }, metadata: JsonObject = {}): JsonObject {
    return { apiVersion: `${group}/v1`, kind: 'Widget', metadata: { name, ...metadata }, spec }
  }

  async createConfigMap(data?: Record<string, string>, metadata?: JsonObject): Promise<JsonObject> {
    const body = this.configMap(this.name(), data, metadata)
    return expectStatus(await this.api.call('POST', this.configMaps, { body }), 201).body
  }

  async createWidget(spec?: JsonObject, metadata?: JsonObject): Promise<JsonObject> {
    const body = this.widget(this.name(), spec, metadata)
    return expectStatus(await this.api.call('POST', this.widgets, { body }), 201).body
  }

  /** Server-side apply. */
  async apply(path: string, body: JsonObject, query: Readonly<Record<string, string>>): Promise<ApiAnswer> {
    return await this.api.call('PATCH', path, { body, query, contentType: 'application/apply-patch+yaml' })
  }

  async patch(path: string, body: Json, options: ApiCall & { readonly type: 'json' | 'merge' | 'strategic-merge' }) {
    const { type, ...rest } = options
    return await this.api.call('PATCH', path, { ...rest, body, contentType: `application/${type}-patch+json` })
  }
}

export function expectStatus(answer: ApiAnswer, status: number): ApiAnswer {
  assert.equal(answer.status, status, `expected HTTP ${status}, got ${answer.status}: ${answer.text.slice(0, 600)}`)
  return answer
}

/** A Status object with this code and reason; `undefined` means that it must have none. */
export function expectFailure(answer: ApiAnswer, status: number, reason: string | undefined): JsonObject {
  expectStatus(answer, status)
  assert.equal(answer.body['kind'], 'Status')
  assert.equal(answer.body['status'], 'Failure')
  assert.equal(answer.body['code'], status)
  assert.equal(answer.body['reason'], reason)
  return answer.body
}

export function text(value: Json | undefined): string {
  assert.ok(typeof value === 'string', `expected a text, got ${JSON.stringify(value)}`)
  return value
}

/** The texts of a list, or of one member of its items, sorted. */
export function sortedTexts(items: readonly Json[], ...path: readonly string[]): readonly string[] {
  return items.map((item) => text(at(item, ...path))).toSorted((left, right) => (left < right ? -1 : 1))
}

export function list(value: Json | undefined): Json[] {
  assert.ok(Array.isArray(value), `expected a list, got ${JSON.stringify(value)}`)
  return value
}

export function versionOf(object: JsonObject): string {
  return text(at(object, 'metadata', 'resourceVersion'))
}

export function uidOf(object: JsonObject): string {
  return text(at(object, 'metadata', 'uid'))
}
