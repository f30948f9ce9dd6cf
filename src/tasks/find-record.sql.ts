import type { ResourceState } from '../contract/resource.ts'
import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import type { PlacedObject } from '../operations/object-target.ts'

/** What the worker last knew of an object, in one tenant. */
export function findRecord(
  database: Database,
  tenant: string,
  { cluster, basePath = '', ref }: PlacedObject,
): Promise<{ readonly state: ResourceState } | undefined> {
  return readAsTenant(database, tenant, (tx) =>
    tx
      .selectFrom('resources')
      .select('state')
      .where('tenant_id', '=', tenant)
      .where('cluster', '=', cluster)
      .where('base_path', '=', basePath)
      .where('api_version', '=', ref.apiVersion)
      .where('kind', '=', ref.kind)
      .where('namespace', '=', ref.namespace ?? '')
      .where('name', '=', ref.name)
      .executeTakeFirst(),
  )
}
