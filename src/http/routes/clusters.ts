import { z } from 'zod'
import {
  type Cluster,
  type CheckedCluster,
  checkedClusterSchema,
  clusterChangeSchema,
  clusterPageSchema,
  clusterSchema,
  newClusterSchema,
} from '../../contract/cluster.ts'
import { checkBasePaths } from '../../kubernetes/base-path.ts'
import { checkConnection } from '../../kubernetes/check-connection.ts'
import { ClusterConfigurationError } from '../../kubernetes/cluster-errors.ts'
import {
  addCluster,
  findRegisteredCluster,
  listRegisteredClusters,
  type RegisteredClustersOptions,
  removeCluster,
  replaceCluster,
} from '../../tasks/registered-clusters.ts'
import type { RegisteredClusterRow } from '../../tasks/registered-clusters.sql.ts'
import type { App } from '../app.ts'
import { callerOf } from '../authenticate.ts'
import { HttpProblem } from '../problems.ts'
import type { Services } from '../services.ts'

const params = z.object({ name: z.string() })

/** The clusters that a tenant may use: those for all, and its own, which its admins add and remove. */
export function clusterRoutes(app: App, services: Services): void {
  app.get(
    '/clusters',
    {
      config: { permission: 'resources.read' },
      schema: { summary: 'Clusters that the tenant may use', response: { 200: clusterPageSchema } },
    },
    async (request) => {
      const { tenant } = callerOf(request)
      const own = await listRegisteredClusters(services.database, tenant)
      const names = new Set(own.map(({ name }) => name))
      const shared = services.clusterNames(tenant).filter((name) => services.isSharedCluster(name) && !names.has(name))
      const items = [...shared.map((name) => sharedCluster(services, tenant, name)), ...own.map(toCluster)]
      return { items: items.toSorted((a, b) => (a.name < b.name ? -1 : 1)), next_page_token: null }
    },
  )

  app.get(
    '/clusters/:name',
    {
      config: { permission: 'resources.read' },
      schema: { summary: 'A cluster, and whether it answers', params, response: { 200: checkedClusterSchema } },
    },
    async (request) => {
      const { tenant } = callerOf(request)
      const { name } = request.params
      const cluster = await findCluster(services, tenant, name)
      return { ...cluster, connection: await connectionTo(services, tenant, name) }
    },
  )

  app.post(
    '/clusters',
    {
      config: { permission: 'clusters.write' },
      schema: {
        summary: 'Add a cluster of the tenant, with its kubeconfig; the credentials are never shown again',
        body: newClusterSchema,
        response: { 201: clusterSchema },
      },
    },
    async (request, reply) => {
      const { tenant, principal } = callerOf(request)
      const { name, kubeconfig, context, base_paths: basePaths } = request.body
      refuseBasePaths(basePaths)
      const given = { name, kubeconfig, context, basePaths }
      const added = await refusing(() => addCluster(writing(services), { tenant, actor: principal.name }, given))
      switch (added) {
        case 'name_taken':
          throw new HttpProblem('cluster_exists', { detail: `There is a cluster ${name} already.` })
        case 'too_many':
          throw new HttpProblem('too_many_clusters', { detail: 'The tenant has as many clusters as it may have: 50.' })
        default:
          return reply.status(201).send(toCluster(added))
      }
    },
  )

  app.put(
    '/clusters/:name',
    {
      config: { permission: 'clusters.write' },
      schema: {
        summary: 'Replace the kubeconfig of a cluster of the tenant',
        params,
        body: clusterChangeSchema,
        response: { 200: clusterSchema },
      },
    },
    async (request) => {
      const { tenant, principal } = callerOf(request)
      const { name } = request.params
      const { kubeconfig, context, base_paths: basePaths } = request.body
      refuseBasePaths(basePaths)
      const given = { name, kubeconfig, context, basePaths }
      const changed = await refusing(() => replaceCluster(writing(services), { tenant, actor: principal.name }, given))
      if (!changed) throw notOwn(services, name)
      return toCluster(changed)
    },
  )

  app.delete(
    '/clusters/:name',
    {
      config: { permission: 'clusters.write' },
      schema: {
        summary: 'Remove a cluster of the tenant; tasks that still need it fail',
        params,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { tenant, principal } = callerOf(request)
      const { name } = request.params
      const removed = await removeCluster(
        { ...services, registry: services.clusterRegistry, isShared: services.isSharedCluster },
        { tenant, actor: principal.name },
        name,
      )
      if (!removed) throw notOwn(services, name)
      return reply.status(204).send(null)
    },
  )
}

async function findCluster(services: Services, tenant: string, name: string): Promise<Cluster> {
  const row = await findRegisteredCluster(services.database, tenant, name)
  if (row) return toCluster(row)
  if (services.isSharedCluster(name)) return sharedCluster(services, tenant, name)
  throw new HttpProblem('not_found', { detail: `There is no cluster ${name}.` })
}

async function connectionTo(services: Services, tenant: string, name: string): Promise<CheckedCluster['connection']> {
  await services.clusterRegistry.expect(tenant, name)
  const checkedAt = new Date().toISOString()
  const found = await checkConnection(() => services.cluster(tenant, name))
  return found.reachable
    ? { reachable: true, version: found.version, reason: null, checked_at: checkedAt }
    : { reachable: false, version: null, reason: found.reason, checked_at: checkedAt }
}

function writing(services: Services): RegisteredClustersOptions {
  const { secrets, clusterRegistry: registry, isSharedCluster: isShared } = services
  if (!secrets) {
    throw new HttpProblem('no_secret_key', {
      detail: 'No key for secrets is configured: set SLUICE_SECRET_KEY (32 bytes, in base64) and restart.',
    })
  }
  return { ...services, secrets, registry, isShared }
}

function notOwn(services: Services, name: string): HttpProblem {
  const detail = services.isSharedCluster(name)
    ? `${name} is configured for all tenants, not over the API.`
    : `The tenant has no cluster ${name}.`
  return new HttpProblem('not_found', { detail })
}

function refuseBasePaths(basePaths: readonly string[]): void {
  try {
    checkBasePaths(basePaths)
  } catch (error) {
    throw asInvalid(error, '/base_paths')
  }
}

async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw asInvalid(error, '/kubeconfig')
  }
}

function asInvalid(error: unknown, pointer: string): unknown {
  if (!(error instanceof ClusterConfigurationError)) return error
  const { message } = error
  return new HttpProblem('invalid_input', { detail: message, errors: [{ pointer, message }], cause: error })
}

function sharedCluster(services: Services, tenant: string, name: string): Cluster {
  return {
    name,
    origin: 'shared',
    simulated: services.cluster(tenant, name).simulated,
    server: null,
    authentication: null,
    base_paths: [],
    created_by: null,
    created_at: null,
    changed_by: null,
    changed_at: null,
  }
}

function toCluster(row: RegisteredClusterRow): Cluster {
  return {
    name: row.name,
    origin: 'tenant',
    simulated: false,
    server: row.server,
    authentication: row.authentication,
    base_paths: row.base_paths,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
    changed_by: row.changed_by,
    changed_at: row.changed_at?.toISOString() ?? null,
  }
}
