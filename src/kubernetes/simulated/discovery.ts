import type { JsonObject } from './json.ts'
import { apiVersionOf, type KindRegistry, type ResourceKind } from './resource-kind.ts'

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const subresourceVerbs = ['get', 'patch', 'update']

export const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'

/** Simulated throughout: whoever asks for the version learns it. */
export const serverVersion: JsonObject = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.0+simulated',
  gitCommit: '0000000000000000000000000000000000000000',
  gitTreeState: 'simulated',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: 'sluice/simulated',
}

export function wantsAggregated(accept: string): boolean {
  return /as=APIGroupDiscoveryList/.test(accept) && /v=v2(?![a-z0-9])/.test(accept)
}

/** `/api` or `/apis` with every resource in it. */
export function aggregatedDiscovery(kinds: KindRegistry, legacy: boolean): JsonObject {
  const groups = [...kinds.groups()].filter(([group]) => (group === '') === legacy)
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(([group, versions]) => ({
      metadata: { name: group, creationTimestamp: null },
      versions: versions.map((version) => ({
        version,
        freshness: 'Current',
        resources: kindsIn(kinds, group, version).map(aggregatedResource),
      })),
    })),
  }
}

export function legacyVersions(): JsonObject {
  return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
}

export function groupList(kinds: KindRegistry): JsonObject {
  const groups = [...kinds.groups().keys()].filter((group) => group !== '')
  return {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: groups.map((group) => groupEntry(kinds, group)),
  }
}

export function groupDocument(kinds: KindRegistry, group: string): JsonObject | undefined {
  if (group === '' || !kinds.groups().has(group)) return undefined
  return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(kinds, group) }
}

export function resourceList(kinds: KindRegistry, group: string, version: string): JsonObject | undefined {
  const served = kindsIn(kinds, group, version)
  if (served.length === 0) return undefined
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf({ group, version }),
    resources: served.flatMap(resourceEntries),
  }
}

function kindsIn(kinds: KindRegistry, group: string, version: string): readonly ResourceKind[] {
  return kinds.all().filter((kind) => kind.group === group && kind.version === version)
}

function groupEntry(kinds: KindRegistry, group: string): JsonObject {
  const versions = (kinds.groups().get(group) ?? []).map((version) => ({
    groupVersion: apiVersionOf({ group, version }),
    version,
  }))
  return { name: group, versions, preferredVersion: versions[0] ?? {} }
}

/** The subresources that the kind offers, with the kind that each speaks. */
export function subresourcesOf(kind: ResourceKind): readonly { readonly name: string; readonly kind: JsonObject }[] {
  const own = { group: kind.group, version: kind.version, kind: kind.kind }
  return [
    ...(kind.statusSubresource ? [{ name: 'status', kind: own }] : []),
    ...(kind.scale === undefined
      ? []
      : [{ name: 'scale', kind: { group: 'autoscaling', version: 'v1', kind: 'Scale' } }]),
  ]
}

function resourceEntries(kind: ResourceKind): JsonObject[] {
  const main: JsonObject = {
    name: kind.plural,
    singularName: kind.singular,
    namespaced: kind.namespaced,
    kind: kind.kind,
    verbs: [...verbs],
  }
  if (kind.shortNames.length > 0) main['shortNames'] = [...kind.shortNames]
  if (kind.categories.length > 0) main['categories'] = [...kind.categories]
  const below = subresourcesOf(kind).map(({ name, kind: spoken }) => ({
    name: `${kind.plural}/${name}`,
    singularName: '',
    namespaced: kind.namespaced,
    ...spoken,
    verbs: [...subresourceVerbs],
  }))
  return [main, ...below]
}

function aggregatedResource(kind: ResourceKind): JsonObject {
  const resource: JsonObject = {
    resource: kind.plural,
    responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: [...verbs],
  }
  if (kind.shortNames.length > 0) resource['shortNames'] = [...kind.shortNames]
  if (kind.categories.length > 0) resource['categories'] = [...kind.categories]
  const below = subresourcesOf(kind).map(({ name, kind: responseKind }) => ({
    subresource: name,
    responseKind,
    verbs: [...subresourceVerbs],
  }))
  if (below.length > 0) resource['subresources'] = below
  return resource
}
