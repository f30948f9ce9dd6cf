import type { JsonObject } from './json.ts'
import { virtualResources, type VirtualResource } from './virtual-resources.ts'
import { apiVersionOf, type KindRegistry, type ResourceKind } from './resource-kind.ts'

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const subresourceVerbs = ['get', 'patch', 'update']

export const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'

/** Simulated throughout: whoever asks for the version learns it. */
export const serverVersion = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.0+simulated',
  gitCommit: '0000000000000000000000000000000000000000',
  gitTreeState: 'simulated',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: 'none',
  compiler: 'none',
  platform: 'sluice/simulated',
} as const satisfies JsonObject

export function wantsAggregated(accept: string): boolean {
  return /as=APIGroupDiscoveryList/.test(accept) && /v=v2(?![a-z0-9])/.test(accept)
}

/** `/api` or `/apis` with every resource in it. */
export function aggregatedDiscovery(kinds: KindRegistry, legacy: boolean): JsonObject {
  const groups = [...groupsOf(kinds)].filter(([group]) => (group === '') === legacy)
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(([group, versions]) => ({
      metadata: { name: group, creationTimestamp: null },
      versions: versions.map((version) => ({
        version,
        freshness: 'Current',
        resources: [
          ...kindsIn(kinds, group, version).map(aggregatedResource),
          ...virtualIn(group, version).map(aggregatedVirtual),
        ],
      })),
    })),
  }
}

export function legacyVersions(): JsonObject {
  return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
}

export function groupList(kinds: KindRegistry): JsonObject {
  const groups = [...groupsOf(kinds).keys()].filter((group) => group !== '')
  return {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: groups.map((group) => groupEntry(kinds, group)),
  }
}

export function groupDocument(kinds: KindRegistry, group: string): JsonObject | undefined {
  if (group === '' || !groupsOf(kinds).has(group)) return undefined
  return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(kinds, group) }
}

export function resourceList(kinds: KindRegistry, group: string, version: string): JsonObject | undefined {
  const resources = [
    ...kindsIn(kinds, group, version).flatMap(resourceEntries),
    ...virtualIn(group, version).map(virtualEntry),
  ]
  if (resources.length === 0) return undefined
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf({ group, version }),
    resources,
  }
}

function kindsIn(kinds: KindRegistry, group: string, version: string): readonly ResourceKind[] {
  return kinds.all().filter((kind) => kind.group === group && kind.version === version)
}

/** Groups of kinds and of virtual resources, with their versions. */
function groupsOf(kinds: KindRegistry): ReadonlyMap<string, readonly string[]> {
  const groups = new Map(kinds.groups())
  for (const { group, version } of virtualResources) {
    if (!groups.has(group)) groups.set(group, [version])
  }
  return groups
}

function virtualIn(group: string, version: string): readonly VirtualResource[] {
  return virtualResources.filter((virtual) => virtual.group === group && virtual.version === version)
}

function virtualEntry(virtual: VirtualResource): JsonObject {
  return {
    name: virtual.subresource === '' ? virtual.resource : `${virtual.resource}/${virtual.subresource}`,
    singularName: '',
    namespaced: virtual.namespaced,
    kind: virtual.kind,
    verbs: [virtual.verb],
  }
}

function aggregatedVirtual(virtual: VirtualResource): JsonObject {
  const responseKind = { group: virtual.group, version: virtual.version, kind: virtual.kind }
  const scope = virtual.namespaced ? 'Namespaced' : 'Cluster'
  if (virtual.subresource === '') {
    return { resource: virtual.resource, responseKind, scope, singularResource: '', verbs: [virtual.verb] }
  }
  const { subresource, verb } = virtual
  return {
    resource: virtual.resource,
    scope,
    singularResource: '',
    verbs: [],
    subresources: [{ subresource, responseKind, verbs: [verb] }],
  }
}

function groupEntry(kinds: KindRegistry, group: string): JsonObject {
  const versions = (groupsOf(kinds).get(group) ?? []).map((version) => ({
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
