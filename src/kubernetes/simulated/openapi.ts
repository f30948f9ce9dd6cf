import { createHash } from 'node:crypto'
import type { Json, JsonObject } from './json.ts'
import { serverVersion, subresourcesOf } from './discovery.ts'
import { apiVersionOf, type KindRegistry, type ResourceKind } from './resource-kind.ts'
import type { Schema } from './schema.ts'

/** OpenAPI documents, made once per change of the kinds. */
export class OpenApi {
  readonly #kinds: KindRegistry
  readonly #texts = new Map<string, string>()
  #revision = -1

  constructor(kinds: KindRegistry) {
    this.#kinds = kinds
  }

  /** The index of OpenAPI v3: one document per group and version. */
  index(): string {
    return this.#keep('', () => {
      const paths: JsonObject = {}
      for (const [group, versions] of this.#kinds.groups()) {
        for (const version of versions) {
          const path = group === '' ? `api/${version}` : `apis/${group}/${version}`
          const text = this.document(group, version) ?? ''
          const hash = createHash('sha256').update(text).digest('hex').slice(0, 32).toUpperCase()
          paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }
        }
      }
      return JSON.stringify({ paths })
    })
  }

  document(group: string, version: string): string | undefined {
    const served = this.#kinds.all().filter((kind) => kind.group === group && kind.version === version)
    if (served.length === 0) return undefined
    return this.#keep(`${group}/${version}`, () => JSON.stringify(openApiDocument(served)))
  }

  swagger(): string {
    return this.#keep('swagger', () => JSON.stringify(swaggerDocument(this.#kinds)))
  }

  #keep(name: string, make: () => string): string {
    if (this.#revision !== this.#kinds.revision) {
      this.#revision = this.#kinds.revision
      this.#texts.clear()
    }
    let text = this.#texts.get(name)
    if (text === undefined) {
      text = make()
      this.#texts.set(name, text)
    }
    return text
  }
}

function openApiDocument(served: readonly ResourceKind[]): JsonObject {
  const paths: JsonObject = {}
  const schemas: JsonObject = {}
  for (const kind of served) {
    schemas[schemaName(kind)] = schemaOf(kind)
    Object.assign(
      paths,
      pathsOf(kind, (name) => ({ $ref: `#/components/schemas/${name}` })),
    )
  }
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes (simulated)', version: serverVersion.gitVersion },
    paths,
    components: { schemas },
  }
}

/** OpenAPI v2, all kinds in one document. */
function swaggerDocument(kinds: KindRegistry): JsonObject {
  const paths: JsonObject = {}
  const definitions: JsonObject = {}
  for (const kind of kinds.all()) {
    definitions[schemaName(kind)] = schemaOf(kind)
    Object.assign(
      paths,
      pathsOf(kind, (name) => ({ $ref: `#/definitions/${name}` })),
    )
  }
  return {
    swagger: '2.0',
    info: { title: 'Kubernetes (simulated)', version: serverVersion.gitVersion },
    paths,
    definitions,
  }
}

function schemaName(kind: ResourceKind): string {
  const group = kind.group === '' ? 'io.k8s.api.core' : kind.group.split('.').reverse().join('.')
  return `${group}.${kind.version}.${kind.kind}`
}

function schemaOf(kind: ResourceKind): JsonObject {
  return {
    ...asJson(kind.schema),
    'x-kubernetes-group-version-kind': [{ group: kind.group, kind: kind.kind, version: kind.version }],
  }
}

function asJson(schema: Schema): JsonObject {
  // A schema is made of JSON and nothing else.
  return schema as unknown as JsonObject
}

function pathsOf(kind: ResourceKind, reference: (name: string) => JsonObject): JsonObject {
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${apiVersionOf(kind)}`
  const collection = kind.namespaced ? `${root}/namespaces/{namespace}/${kind.plural}` : `${root}/${kind.plural}`
  const identity = { group: kind.group, kind: kind.kind, version: kind.version }
  const operation = (action: string, parameters: Json[]): JsonObject => ({
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': identity,
    parameters,
    responses: {
      '200': { description: 'OK', content: { 'application/json': { schema: reference(schemaName(kind)) } } },
    },
  })
  const item = {
    get: operation('get', []),
    put: operation('put', writeParameters),
    patch: operation('patch', [...writeParameters, queryParameter('force', 'boolean')]),
    delete: operation('delete', [queryParameter('dryRun', 'string')]),
  }
  const paths: JsonObject = {
    [collection]: { get: operation('list', []), post: operation('post', writeParameters) },
    [`${collection}/{name}`]: item,
  }
  for (const { name } of subresourcesOf(kind)) {
    paths[`${collection}/{name}/${name}`] = { get: item.get, put: item.put, patch: item.patch }
  }
  return paths
}

const writeParameters: Json[] = [
  queryParameter('dryRun', 'string'),
  queryParameter('fieldManager', 'string'),
  queryParameter('fieldValidation', 'string'),
]

function queryParameter(name: string, type: string): JsonObject {
  return { name, in: 'query', schema: { type, uniqueItems: true } }
}
