import type { Selectable } from 'kysely'
import type { z } from 'zod'
import { toWireId } from '../contract/ids.ts'
import type { Resource, resourceListQuerySchema } from '../contract/resource.ts'
import type { Database } from '../database/database.ts'
import type { ResourcesTable } from '../database/tables.ts'
import { RefusedError } from '../operations/define-operation.ts'

type ResourceListQuery = z.output<typeof resourceListQuerySchema>

export interface ResourcePage {
  readonly items: Resource[]
  readonly next_page_token: string | null
}

/** Managed objects by their target's name. The page token is the last target. */
export function listResources(database: Database, tenant: string, query: ResourceListQuery): Promise<ResourcePage> {
  const after = query.page_token === undefined ? undefined : readPageToken(query.page_token)
  const size = query.page_size ?? 50
  return database.transaction({ role: 'sluice_api', tenant }, async (tx) => {
    const { cluster, kind, namespace, name, state, drift } = query
    const rows = await tx
      .selectFrom('resources')
      .selectAll()
      .where('tenant_id', '=', tenant)
      .$if(cluster !== undefined, (b) => b.where('cluster', '=', cluster ?? ''))
      .$if(kind !== undefined, (b) => b.where('kind', '=', kind ?? ''))
      .$if(namespace !== undefined, (b) => b.where('namespace', '=', namespace ?? ''))
      .$if(name !== undefined, (b) => b.where('name', '=', name ?? ''))
      .$if(state !== undefined, (b) => b.where('state', '=', state ?? 'present'))
      .$if(drift === 'any', (b) => b.where('drift', 'is not', null))
      .$if(drift === 'changed' || drift === 'deleted', (b) =>
        b.where('drift', '=', drift === 'changed' ? drift : 'deleted'),
      )
      .$if(after !== undefined, (b) => b.where('target', '>', after ?? ''))
      .orderBy('target')
      .limit(size + 1)
      .execute()
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
    api_version: row.api_version,
    kind: row.kind,
    namespace: row.namespace || null,
    name: row.name,
    uid: row.uid,
    state: row.state,
    drift: row.drift,
    conditions: [...row.conditions],
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
