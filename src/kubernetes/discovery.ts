import type { Clock } from './clock.ts'
import { ClusterServerError, InvalidObjectError, NotFoundError, UnknownKindError } from './cluster-errors.ts'
import { isRecord } from './kubernetes-object.ts'
import { raceSignal } from './race-signal.ts'
import type { Transport } from './transport.ts'

/** A kind as a server offers it. */
export interface ApiResource {
  readonly apiVersion: string
  readonly kind: string
  /** Plural, as in paths. */
  readonly resource: string
  readonly namespaced: boolean
}

export interface DiscoveryQuery {
  readonly basePath: string
  readonly apiVersion: string
  readonly kind: string
  readonly signal?: AbortSignal | undefined
}

export interface Discovery {
  /** Throws `UnknownKindError` when the server does not offer the kind. */
  find(query: DiscoveryQuery): Promise<ApiResource>
  /** Forgets a group version: the server answered 404 for a path that came from here. */
  forget(basePath: string, apiVersion: string): void
}

// A kind keeps its plural as long as its definition lives, so this is long; a kind that is not there may come soon.
const freshForMs = 600_000
const missFreshForMs = 2_000

interface Entry {
  readonly at: number
  readonly resources: Promise<readonly ApiResource[]>
}

export function createDiscovery(transport: Transport, clock: Clock): Discovery {
  const cache = new Map<string, Entry>()

  function load(query: DiscoveryQuery, maxAgeMs: number): Promise<readonly ApiResource[]> {
    const key = `${query.basePath}|${query.apiVersion}`
    const known = cache.get(key)
    if (known && clock.now() - known.at < maxAgeMs) return known.resources
    // Shared by all who ask meanwhile, so it does not end with the signal of the first.
    const resources = fetchResources(transport, query.basePath, query.apiVersion)
    cache.set(key, { at: clock.now(), resources })
    resources.catch(() => {
      if (cache.get(key)?.resources === resources) cache.delete(key)
    })
    return resources
  }

  return {
    async find(query) {
      const named = (resource: ApiResource): boolean => resource.kind === query.kind
      const ask = async (maxAgeMs: number): Promise<ApiResource | undefined> =>
        (await raceSignal(load(query, maxAgeMs), query.signal)).find(named)
      const found = (await ask(freshForMs)) ?? (await ask(missFreshForMs))
      if (!found) {
        throw new UnknownKindError(
          `The cluster serves no ${query.kind} in ${query.apiVersion}. Install its CustomResourceDefinition, or check apiVersion and kind.`,
          { status: 404 },
        )
      }
      return found
    },
    forget(basePath, apiVersion) {
      cache.delete(`${basePath}|${apiVersion}`)
    },
  }
}

async function fetchResources(
  transport: Transport,
  basePath: string,
  apiVersion: string,
): Promise<readonly ApiResource[]> {
  const path = `${basePath}${groupVersionPath(apiVersion)}`
  let body: unknown
  try {
    body = (await transport.request({ method: 'GET', path })).body
  } catch (error) {
    if (error instanceof NotFoundError) return []
    throw error
  }
  if (!isRecord(body) || !Array.isArray(body['resources'])) {
    throw new ClusterServerError(`${path} answered no list of resources.`)
  }
  return body['resources'].filter(isRecord).flatMap((item) => readResource(item, apiVersion))
}

function readResource(item: Readonly<Record<string, unknown>>, apiVersion: string): ApiResource[] {
  const { name, kind, namespaced } = item
  // deployments/status and the like are subresources of the same kind.
  if (typeof name !== 'string' || typeof kind !== 'string' || name.includes('/')) return []
  return [{ apiVersion, kind, resource: name, namespaced: namespaced === true }]
}

/** `/api/v1` for the core group, `/apis/<group>/<version>` for the others. */
export function groupVersionPath(apiVersion: string): string {
  if (!/^([a-z0-9.-]+\/)?v[a-z0-9]+$/.test(apiVersion)) {
    throw new InvalidObjectError(`"${apiVersion}" is no apiVersion: write version or group/version, such as apps/v1.`)
  }
  return apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
}

/** The path of a collection, or of one object in it. */
export function resourcePath(
  basePath: string,
  resource: ApiResource,
  object: { readonly namespace?: string | undefined; readonly name?: string; readonly subresource?: string },
): string {
  const parts = [
    ...(resource.namespaced && object.namespace !== undefined ? ['namespaces', object.namespace] : []),
    resource.resource,
    ...(object.name !== undefined ? [object.name] : []),
    ...(object.subresource !== undefined ? [object.subresource] : []),
  ]
  return `${basePath}${groupVersionPath(resource.apiVersion)}/${parts.map(encodeSegment).join('/')}`
}

// `..` survives encoding and would walk up the path.
function encodeSegment(segment: string): string {
  if (segment === '' || segment === '.' || segment === '..' || segment.includes('/')) {
    throw new InvalidObjectError(`"${segment}" is no name of an object, namespace or resource.`)
  }
  return encodeURIComponent(segment)
}
