import { readSchema } from '../crd-schema.ts'
import { ageColumn, defineKind, nameColumn } from '../define-kind.ts'
import { forbiddenField, invalid, required, type FieldError } from '../field-error.ts'
import { isObject, listAt, objectAt, stringAt, valueAt, type Json, type JsonObject } from '../json.ts'
import { JsonPathError, parsePath } from '../json-path.ts'
import type { KubernetesObject } from '../kubernetes-object.ts'
import type { PrinterColumn, ResourceKind, ScalePaths } from '../resource-kind.ts'
import { anything, boolean, int32, list, listMap, object, string, withObjectMeta } from '../schema.ts'

export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io'

const names = object(
  {
    plural: string,
    singular: string,
    kind: string,
    listKind: string,
    shortNames: list(string),
    categories: list(string),
  },
  ['plural', 'kind'],
)

const condition = object(
  {
    type: string,
    status: string,
    reason: string,
    message: string,
    lastTransitionTime: string,
    observedGeneration: int32,
  },
  ['type', 'status'],
)

const definitionKind = defineKind({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  shortNames: ['crd', 'crds'],
  categories: ['api-extensions'],
  namespaced: false,
  schema: object(
    {
      spec: object(
        {
          group: string,
          names,
          scope: { type: 'string', enum: ['Cluster', 'Namespaced'] },
          versions: list(
            object(
              {
                name: string,
                served: boolean,
                storage: boolean,
                deprecated: boolean,
                deprecationWarning: string,
                schema: object({ openAPIV3Schema: anything }),
                subresources: object({
                  status: anything,
                  scale: object({ specReplicasPath: string, statusReplicasPath: string, labelSelectorPath: string }, [
                    'specReplicasPath',
                    'statusReplicasPath',
                  ]),
                }),
                additionalPrinterColumns: list(
                  object(
                    {
                      name: string,
                      type: string,
                      format: string,
                      description: string,
                      priority: int32,
                      jsonPath: string,
                    },
                    ['name', 'type', 'jsonPath'],
                  ),
                ),
                selectableFields: list(object({ jsonPath: string }, ['jsonPath'])),
              },
              ['name', 'served', 'storage'],
            ),
          ),
          conversion: object({ strategy: string, webhook: anything }),
          preserveUnknownFields: boolean,
        },
        ['group', 'names', 'scope', 'versions'],
      ),
      status: object({
        conditions: listMap(['type'], condition),
        acceptedNames: names,
        storedVersions: list(string),
      }),
    },
    ['spec'],
  ),
  hooks: { prepare: prepareDefinition, validate: validateDefinition },
})

/** Shown with the time itself, and not with an age. */
export const customResourceDefinitionKind: ResourceKind = {
  ...definitionKind,
  columns: [
    nameColumn,
    { name: 'Created At', type: 'date', value: (definition) => stringAt(definition, 'metadata', 'creationTimestamp') },
  ],
}

function prepareDefinition(definition: KubernetesObject, live: KubernetesObject | undefined): void {
  const given = objectAt(definition, 'spec', 'names')
  if (given !== undefined) {
    const kind = stringAt(given, 'kind') ?? ''
    given['singular'] ??= kind.toLowerCase()
    given['listKind'] ??= `${kind}List`
  }
  const spec = objectAt(definition, 'spec')
  if (spec !== undefined) spec['conversion'] ??= { strategy: 'None' }
  if (live !== undefined) return
  const finalizers = definition.metadata['finalizers']
  definition.metadata['finalizers'] = [...(Array.isArray(finalizers) ? finalizers : []), cleanupFinalizer]
}

function validateDefinition(definition: KubernetesObject, live: KubernetesObject | undefined): FieldError[] {
  const errors: FieldError[] = []
  const group = stringAt(definition, 'spec', 'group') ?? ''
  const plural = stringAt(definition, 'spec', 'names', 'plural') ?? ''
  if (definition.metadata.name !== `${plural}.${group}`) {
    errors.push(invalid('metadata.name', definition.metadata.name, 'must be spec.names.plural+"."+spec.group'))
  }
  if (!group.includes('.')) errors.push(invalid('spec.group', group, 'should be a domain with at least one dot'))
  for (const field of ['group', 'scope']) {
    const before = live === undefined ? undefined : valueAt(live, 'spec', field)
    const now = valueAt(definition, 'spec', field)
    if (before !== undefined && before !== now) errors.push(invalid(`spec.${field}`, now, 'field is immutable'))
  }
  const versions = listAt(definition, 'spec', 'versions')
  if (versions.filter((version) => valueAt(version, 'storage') === true).length !== 1) {
    errors.push(invalid('spec.versions', versions.length, 'must have exactly one version marked as storage version'))
  }
  if (stringAt(definition, 'spec', 'conversion', 'strategy') !== 'None') {
    errors.push(
      forbiddenField('spec.conversion.strategy', 'the simulated cluster converts between versions with None only'),
    )
  }
  if (valueAt(definition, 'spec', 'preserveUnknownFields') === true) {
    errors.push(invalid('spec.preserveUnknownFields', true, 'must be false'))
  }
  versions.forEach((version, index) => errors.push(...checkVersion(version, `spec.versions[${index}]`)))
  return errors
}

function checkVersion(version: Json, path: string): FieldError[] {
  const schemaPath = `${path}.schema.openAPIV3Schema`
  const { errors } = readSchema(valueAt(version, 'schema', 'openAPIV3Schema'), schemaPath)
  if (!/^v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?$|^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(stringAt(version, 'name') ?? '')) {
    errors.push(invalid(`${path}.name`, stringAt(version, 'name'), 'must be a DNS-1035 label'))
  }
  const columns = listAt(version, 'additionalPrinterColumns').map((c) => stringAt(c, 'jsonPath'))
  const fields = listAt(version, 'selectableFields').map((field) => stringAt(field, 'jsonPath'))
  const scale = objectAt(version, 'subresources', 'scale') ?? {}
  for (const text of [...columns, ...fields, ...Object.values(scale)]) {
    if (typeof text !== 'string') errors.push(required(`${path}.jsonPath`))
    else errors.push(...checkPath(text, path))
  }
  return errors
}

function checkPath(text: string, path: string): FieldError[] {
  try {
    parsePath(text)
    return []
  } catch (error) {
    if (error instanceof JsonPathError) return [invalid(`${path}.jsonPath`, text, error.message)]
    throw error
  }
}

/** What a definition makes the server serve: one kind per version that is served. */
export function kindsOf(definition: KubernetesObject): readonly ResourceKind[] {
  const versions = listAt(definition, 'spec', 'versions').filter((version) => isObject(version))
  const storage = versions.find((version) => version['storage'] === true)
  const storageVersion = stringAt(storage, 'name') ?? ''
  return versions
    .filter((version) => version['served'] === true || version === storage)
    .map((version) => kindOf(definition, version, storageVersion))
}

function kindOf(definition: KubernetesObject, version: JsonObject, storageVersion: string): ResourceKind {
  const given = objectAt(definition, 'spec', 'names') ?? {}
  const scale = scaleOf(version)
  const kind = stringAt(given, 'kind') ?? ''
  const warning = stringAt(version, 'deprecationWarning')
  const group = stringAt(definition, 'spec', 'group') ?? ''
  const name = stringAt(version, 'name') ?? ''
  const deprecation = version['deprecated'] === true ? (warning ?? `${group}/${name} ${kind} is deprecated`) : undefined
  return {
    group,
    version: name,
    storageVersion,
    kind,
    plural: stringAt(given, 'plural') ?? '',
    singular: stringAt(given, 'singular') ?? kind.toLowerCase(),
    shortNames: listAt(given, 'shortNames').map(String),
    categories: listAt(given, 'categories').map(String),
    namespaced: stringAt(definition, 'spec', 'scope') === 'Namespaced',
    schema: withObjectMeta(readSchema(valueAt(version, 'schema', 'openAPIV3Schema'), '').schema),
    statusSubresource: objectAt(version, 'subresources', 'status') !== undefined,
    hasGeneration: true,
    custom: true,
    columns: columnsOf(version),
    selectableFields: listAt(version, 'selectableFields').map((f) =>
      (stringAt(f, 'jsonPath') ?? '').replace(/^\./, ''),
    ),
    served: version['served'] === true,
    hooks: {},
    ...(scale === undefined ? {} : { scale }),
    ...(deprecation === undefined ? {} : { deprecation }),
  }
}

function scaleOf(version: JsonObject): ScalePaths | undefined {
  const scale = objectAt(version, 'subresources', 'scale')
  if (scale === undefined) return undefined
  const labelSelector = stringAt(scale, 'labelSelectorPath')
  return {
    specReplicas: stringAt(scale, 'specReplicasPath') ?? '',
    statusReplicas: stringAt(scale, 'statusReplicasPath') ?? '',
    ...(labelSelector === undefined ? {} : { labelSelector }),
  }
}

const columnTypes = ['integer', 'number', 'string', 'boolean', 'date'] as const

function columnsOf(version: JsonObject): readonly PrinterColumn[] {
  const columns = listAt(version, 'additionalPrinterColumns')
  if (columns.length === 0) return [nameColumn, ageColumn]
  const given = columns.map((column): PrinterColumn => {
    const description = stringAt(column, 'description')
    const priority = valueAt(column, 'priority')
    return {
      name: stringAt(column, 'name') ?? '',
      type: columnTypes.find((type) => type === stringAt(column, 'type')) ?? 'string',
      value: stringAt(column, 'jsonPath') ?? '',
      ...(description === undefined ? {} : { description }),
      ...(typeof priority === 'number' ? { priority } : {}),
    }
  })
  return [nameColumn, ...given]
}
