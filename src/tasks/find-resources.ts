import type { Selectable } from 'kysely'
import { toWireId } from '../contract/ids.ts'
import type { Resource } from '../contract/resource.ts'
import type { Database } from '../database/database.ts'
import { readAsTenant } from '../database/read-as-tenant.ts'
import type { ResourcesTable } from '../database/tables.ts'
import { RefusedError } from '../operations/define-operation.ts'
import { type ResourceListQuery, selectResources } from './find-resources.sql.ts'

export interface ResourcePage {
  readonly items: Resource[]
  readonly next_page_token: string | null
}

/** Managed objects and analyses by their target's name. The page token is the last target. */
export function listResources(database: Database, tenant: string, query: ResourceListQuery): Promise<ResourcePage> {
  const after = query.page_token === undefined ? undefined : readPageToken(query.page_token)
  const size = query.page_size ?? 50
  return readAsTenant(database, tenant, async (tx) => {
    const rows = await selectResources(tx, { tenant, query, after, limit: size + 1 })
    const page = rows.slice(0, size)
    const last = page.at(-1)
    return {
      items: page.map(toResource),
      next_page_token: rows.length > size && last ? Buffer.from(last.target).toString('base64url') : null,
    }
  })
}

function toResource(row: Selectable<ResourcesTable>): Resource {
  return {
    cluster: row.cluster,
    base_path: row.base_path,
    api_version: row.api_version,
    kind: row.kind,
    namespace: row.namespace || null,
    name: row.name,
    uid: row.uid,
    state: row.state,
    drift: row.drift,
    conditions: [...row.conditions],
    details: row.details,
    task_id: toWireId('task', row.task_id),
    updated_at: row.updated_at.toISOString(),
  }
}

function readPageToken(token: string): string {
  const target = Buffer.from(token, 'base64url').toString()
  if (target.includes(':')) return target
  throw new RefusedError('page_token is not one that a list returned. Leave it out to begin again.', {
    status: 422,
    code: 'invalid_page_token',
  })
}
